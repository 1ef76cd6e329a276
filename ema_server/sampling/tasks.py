"""Doorbells of the ledger of prompts. They may ring twice, or not at all: what came due meanwhile is found the next time."""

from __future__ import annotations

from celery import shared_task

from ema_server.common import clock
from ema_server.sampling import decisions


@shared_task
def judge_decisions() -> int:
    """Write who is available at the decision points that have come due; returns how many were judged."""
    return decisions.judge_decisions(now=clock.now())
