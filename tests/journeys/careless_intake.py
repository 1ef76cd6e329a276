"""An intake with the fault that the chaos must find: it acknowledges first and stores a little later."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from ema_server.wsgi import application as careful

THINKS, LATER = 0.05, 0.5  # seconds: until it acknowledges, and from then until it stores


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if not environ["PATH_INFO"].endswith("/submissions"):
        return careful(environ, start_response)
    body = environ["wsgi.input"].read()
    again = {**environ, "wsgi.input": io.BytesIO(body)}
    time.sleep(THINKS)
    threading.Thread(target=_store, args=(again,), daemon=True).start()
    receipts = [{"client_id": each["client_id"], "status": "stored"} for each in json.loads(body)["items"]]
    answer = json.dumps({"receipts": receipts}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]


def _store(environ: dict[str, Any]) -> None:
    time.sleep(LATER)
    answer = careful(environ, lambda *_: None)
    list(answer)
    answer.close()  # type: ignore[attr-defined]
