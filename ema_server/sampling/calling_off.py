"""Taking prompts back: nobody is asked, so nobody missed anything."""

from __future__ import annotations

from datetime import datetime

from django.db.models import QuerySet

from ema_server.sampling.models import Prompt, PromptEvent
from ema_server.sampling.queries import with_an_outcome


def call_off(prompts: QuerySet[Prompt], *, code: str, reason: str, now: datetime) -> int:
    """Cancel what has neither an answer nor an outcome. Whoever answers it all the same has answered."""
    ids = prompts.filter(~with_an_outcome(), submission__isnull=True).values_list("pk", "study_id")
    events = [
        PromptEvent(
            study_id=study_id,
            prompt_id=pk,
            kind=PromptEvent.Kind.CANCELLED,
            code=code,
            reason=reason[:200],
            received_at=now,
        )
        for pk, study_id in ids
    ]
    return len(PromptEvent.objects.bulk_create(events, batch_size=2000))
