"""The Celery app. Tasks are doorbells: they carry ids and may ring twice; what must happen is a row in the outbox."""

from __future__ import annotations

from celery import Celery

from ema_server.common.start import read_settings

read_settings()

app = Celery("ema_server")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
