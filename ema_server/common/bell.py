"""Ring a worker. What must happen is a row in the outbox; the bell only makes it soon, so a dumb bell harms nobody."""

from __future__ import annotations

import logging
from typing import Any

from celery import Task
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


def ring(task: Task[..., Any], *ids: int | str) -> bool:
    """Wake a worker for this task, or note that the broker is away: the sweep finds the row then. Never raises for it."""
    try:
        task.apply_async(args=ids, retry=False, ignore_result=True)
    except (OperationalError, RedisError, OSError) as error:
        logger.warning("no bell: the broker is away (%s)", type(error).__name__, extra={"task": task.name})
        return False
    return True
