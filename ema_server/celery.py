"""The Celery app. Tasks are doorbells: they carry ids and may ring twice; what must happen is a row in the outbox."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ema_server.settings")

app = Celery("ema_server")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
