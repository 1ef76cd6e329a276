"""Doorbells of the ledger. They may ring twice, or not at all: the rows remember, and beat rings every 30 s."""

from __future__ import annotations

from celery import shared_task

from ema_server.common import clock
from ema_server.ledger import audit, outbox


@shared_task
def sweep(queue: str) -> int:
    """Do whatever is due on this queue; returns how many were done."""
    return outbox.run_due(queue=queue)


@shared_task
def ask_for_anchors() -> None:
    """Every hour the ends of all audit chains are kept in the key store too."""
    audit.ask_for_anchors(now=clock.now())
