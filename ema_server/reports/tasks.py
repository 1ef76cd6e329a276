"""Doorbells of the night. They may ring twice, or not at all: the outbox remembers."""

from __future__ import annotations

from celery import shared_task

from ema_server.common import clock
from ema_server.reports import services


@shared_task
def ask_for_nights() -> int:
    """Ask for the nights that have passed; returns how many are new."""
    return services.ask_for_due_nights(now=clock.now())


@shared_task
def warm_up() -> None:
    """Compile the engine's kernels before they are needed; once compiled they are read from the cache."""
    services.warm_up()
