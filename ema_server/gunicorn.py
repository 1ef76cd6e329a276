"""How gunicorn serves: `gunicorn --config python:ema_server.gunicorn ema_server.wsgi`, behind a proxy that buffers bodies."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from django.conf import settings

from ema_server.common.start import read_settings

read_settings()

# Counts of all workers are kept in one folder for each start. It must be named before the library is loaded.
COUNTS = Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR") or settings.VAR / "metrics") / f"web-{os.getpid()}"
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(COUNTS)

from prometheus_client import multiprocess  # noqa: E402

bind = settings.BIND
worker_class = "gthread"
workers = settings.WEB_WORKERS
threads = 4
timeout = 60  # seconds without a sign of life, then a worker is replaced
graceful_timeout = 25  # seconds for requests under way once asked to stop
max_requests, max_requests_jitter = 20_000, 2_000
limit_request_field_size = 8190
control_socket_disable = True
logconfig_dict = settings.LOGGING
accesslog = None  # one line for each request comes from the service itself, without path, query or address


def on_starting(server: Any) -> None:
    """Begin with nothing counted, and remove what masters that have ended left behind."""
    for old in COUNTS.parent.glob("web-*"):
        if old == COUNTS or not Path(f"/proc/{old.name.removeprefix('web-')}").exists():
            shutil.rmtree(old, ignore_errors=True)
    COUNTS.mkdir(parents=True)


def child_exit(server: Any, worker: Any) -> None:
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    shutil.rmtree(COUNTS, ignore_errors=True)
