"""When prompts were started: what decides whether an answer within the grace is in time."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models.fields.json import KeyTextTransform

from ema_server.common.phone_time import believable, parse_phone_time
from ema_server.responses.models import Submission
from ema_server.sampling.models import PromptEvent
from ema_server.studies.models import Study

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def read_starts(study: Study, cutoff: datetime, prompts: Collection[UUID]) -> dict[Any, int]:
    """When each prompt was first started, in microseconds since 1970, where the phone's clock can be believed: by a submission's own
    word, or by an event."""
    if not prompts:
        return {}
    moments: list[tuple[Any, datetime | None]] = list(
        PromptEvent.objects.filter(
            study=study, prompt__in=prompts, received_at__lte=cutoff, kind=PromptEvent.Kind.STARTED
        ).values_list("prompt_id", "phone_at")
    )
    sent = Submission.objects.filter(study=study, prompt__in=prompts, received_at__lte=cutoff)
    for prompt, text, received in sent.values_list(
        "prompt_id", KeyTextTransform("started_at", "payload"), "received_at"
    ):
        moment = parse_phone_time(text) if text else None
        if moment and believable(moment, study_start=study.starts_on, now=received):
            moments.append((prompt, moment))
    found: dict[Any, int] = {}
    for prompt, moment in moments:
        if moment is not None:
            started = (moment - EPOCH) // MICROSECOND
            found[prompt] = min(started, found.get(prompt, started))
    return found
