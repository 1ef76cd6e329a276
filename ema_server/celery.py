"""The Celery app. Tasks are doorbells: they carry ids and may ring twice; what must happen is a row in the outbox."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, signals

from ema_server.common.start import read_settings

read_settings()

app = Celery("ema_server")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

logger = logging.getLogger("ema_server.tasks")


@signals.setup_logging.connect
def _logging_is_djangos(**_: Any) -> None:
    """A receiver is enough: Celery then leaves the settings' LOGGING alone."""


@signals.task_success.connect
def _note_success(sender: Any = None, **_: Any) -> None:
    logger.info("task done", extra={"task": sender.name, "task_id": sender.request.id})


@signals.task_failure.connect
def _note_failure(sender: Any = None, task_id: str = "", exception: BaseException | None = None, **_: Any) -> None:
    found = (type(exception), exception, exception.__traceback__) if exception is not None else None
    logger.error("task failed", exc_info=found, extra={"task": sender.name, "task_id": task_id})
