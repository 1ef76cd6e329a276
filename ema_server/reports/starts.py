"""When prompts were started: what decides whether an answer within the grace is in time."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce

from ema_server.common.phone_time import believable, parse_phone_time
from ema_server.responses.models import Submission
from ema_server.sampling.models import PromptEvent
from ema_server.studies.models import Study

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def read_starts(study: Study, cutoff: datetime, prompts: Collection[UUID]) -> dict[Any, int]:
    """When each prompt was first started, in microseconds since 1970, as early as anybody says: by a submission's own word or
    an event; by the phone's clock, or by the server's where that cannot be believed."""
    if not prompts:
        return {}
    known = {"study": study, "prompt__in": prompts, "received_at__lte": cutoff}
    told = PromptEvent.objects.filter(kind__in=(PromptEvent.Kind.STARTED, PromptEvent.Kind.COMPLETED), **known)
    moments = list(told.values_list("prompt_id", Coalesce("phone_at", "received_at")))
    sent = Submission.objects.filter(**known)
    for prompt, answered, received, text in sent.values_list(
        "prompt_id", "answered_at", "received_at", KeyTextTransform("started_at", "payload")
    ):
        moments.append((prompt, answered or received))
        moment = parse_phone_time(text) if text else None
        if moment and believable(moment, study_start=study.starts_on, now=received):
            moments.append((prompt, moment))
    found: dict[Any, int] = {}
    for prompt, moment in moments:
        started = (moment - EPOCH) // MICROSECOND
        found[prompt] = min(started, found.get(prompt, started))
    return found
