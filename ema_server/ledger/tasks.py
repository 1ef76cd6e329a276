"""The doorbell of the outbox. It may ring twice, or not at all: the rows remember, and beat rings every 30 s."""

from __future__ import annotations

from celery import shared_task

from ema_server.ledger import outbox


@shared_task
def sweep(queue: str) -> int:
    """Do whatever is due on this queue; returns how many were done."""
    return outbox.run_due(queue=queue)
