"""The server behind somebody who breaks five of its promises: what the conformance kit has to find, and nothing else.

It answers `stored` where the truth is `duplicate`; it swallows the third item of a batch of twelve and says that it was stored;
it falls over a NUL; it forgets to say which limit a batch exceeded; and it gives every sync another ETag.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

from ema_server.wsgi import application as honest

Environ = dict[str, Any]


def application(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"].removeprefix("/api/v1/")
    if path == "submissions":
        return _submissions(environ, start_response)
    if path == "sync":
        environ.pop("HTTP_IF_NONE_MATCH", None)
        status, headers, body = _asked(environ)
        return _answer(
            start_response, status, [*(each for each in headers if each[0] != "ETag"), ("ETag", f'"{uuid4()}"')], body
        )
    return honest(environ, start_response)


def _submissions(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    sent = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if b"a\\u0000b" in sent:
        return _answer(start_response, "500 Internal Server Error", [("Content-Type", "text/html")], b"<h1>Oops</h1>")
    swallowed = None
    items = _items(sent)
    if len(items) == 12:
        swallowed = items.pop(2)
        sent = json.dumps({"items": items}).encode()
    status, headers, body = _asked({**environ, "wsgi.input": io.BytesIO(sent), "CONTENT_LENGTH": str(len(sent))})
    said = json.loads(body)
    if swallowed is not None:
        said["receipts"].insert(2, {"client_id": swallowed["client_id"], "status": "stored"})
    for receipt in said.get("receipts", []):
        if receipt["status"] == "duplicate":
            receipt["status"] = "stored"
    said.pop("limit_items", None)
    return _answer(start_response, status, headers, json.dumps(said).encode())


def _items(sent: bytes) -> list[Any]:
    try:
        items = json.loads(sent)["items"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return items if isinstance(items, list) else []


def _asked(environ: Environ) -> tuple[str, list[tuple[str, str]], bytes]:
    said: list[Any] = []
    parts = honest(environ, lambda status, headers, exc_info=None: said.extend((status, headers)))
    body = b"".join(parts)
    if hasattr(parts, "close"):
        parts.close()
    return said[0], said[1], body


def _answer(
    start_response: Callable[..., Any], status: str, headers: list[tuple[str, str]], body: bytes
) -> Iterable[bytes]:
    kept = [each for each in headers if each[0].lower() != "content-length"]
    start_response(status, [*kept, ("Content-Length", str(len(body)))])
    return [body]
