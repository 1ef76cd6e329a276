"""How gunicorn serves: `gunicorn --config python:ema_server.gunicorn ema_server.wsgi`, behind a proxy that buffers bodies."""

from __future__ import annotations

from ema_server.common.start import read_settings

read_settings()

worker_class = "gthread"
workers = 2
threads = 4
timeout = 60  # seconds without a sign of life, then a worker is replaced
graceful_timeout = 25  # seconds for requests under way once asked to stop
max_requests, max_requests_jitter = 20_000, 2_000
loglevel = "warning"
accesslog = None  # one line for each request comes from the service itself, without path, query or address
