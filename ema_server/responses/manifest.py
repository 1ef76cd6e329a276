"""What the server holds of one person, so that their phone can prove that everything arrived."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

import msgspec
from django.db.models import Count, Max, QuerySet

from ema_server.common.openapi import said
from ema_server.participants.models import DeviceReport, Participant
from ema_server.responses.models import Conflict, Quarantined, Submission
from ema_server.sampling.models import PromptEvent

MOST: Final = 5_000  # ids in one call

Answers = Annotated[dict[str, str], said("by id: stored | conflict | quarantined | unknown")]


class Held(msgspec.Struct, frozen=True):
    """How many rows there are of a kind, and when the newest one came."""

    count: int
    newest_received_at: str | None


class ManifestOut(msgspec.Struct, frozen=True):
    """`conflict`: stored, and another content came under the same id; both are kept. `quarantined`: refused, and kept.
    `unknown`: nothing of this person has this id; send it."""

    submissions: Answers
    events: Answers
    reports: Answers
    held: Annotated[dict[str, Held], said("submissions, events, reports and quarantined items of this person")]


def manifest_of(
    person: Participant, *, submissions: Sequence[str], events: Sequence[str], reports: Sequence[str]
) -> ManifestOut:
    """An answer for each id. Another person's answers like one that nobody has."""
    answers, quarantine = Submission.objects.filter(participant=person), Quarantined.objects.filter(participant=person)
    told, reported = (
        PromptEvent.objects.filter(prompt__participant=person),
        DeviceReport.objects.filter(participant=person),
    )
    asked = _uuids(submissions)
    refused = quarantine.filter(client_id__in=asked).values_list("client_id", flat=True)
    states = {client_id: "quarantined" for client_id in refused if client_id is not None}
    states |= dict.fromkeys(answers.filter(client_id__in=asked).values_list("client_id", flat=True), "stored")
    conflicts = Conflict.objects.filter(submission__participant=person, submission__client_id__in=asked)
    states |= dict.fromkeys(conflicts.values_list("submission__client_id", flat=True), "conflict")
    return ManifestOut(
        submissions=_by_id(submissions, states),
        events=_by_id(events, _stored(told, events)),
        reports=_by_id(reports, _stored(reported, reports)),
        held={
            "submissions": _held(answers),
            "events": _held(told.filter(device__isnull=False)),
            "reports": _held(reported),
            "quarantined": _held(quarantine),
        },
    )


def _stored(rows: QuerySet[PromptEvent] | QuerySet[DeviceReport], ids: Sequence[str]) -> dict[UUID, str]:
    found: Iterable[UUID] = rows.filter(client_id__in=_uuids(ids)).values_list("client_id", flat=True)
    return dict.fromkeys(found, "stored")


def _by_id(ids: Sequence[str], states: dict[UUID, str]) -> dict[str, str]:
    """In the phone's own spelling of each id."""
    return {each: states.get(known, "unknown") if (known := _uuid(each)) else "unknown" for each in ids}


def _uuids(ids: Sequence[str]) -> list[UUID]:
    return [known for each in ids if (known := _uuid(each))]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _held(rows: QuerySet[Submission] | QuerySet[PromptEvent] | QuerySet[DeviceReport] | QuerySet[Quarantined]) -> Held:
    found = rows.aggregate(count=Count("pk"), newest=Max("received_at"))
    newest: datetime | None = found["newest"]
    return Held(found["count"], newest.isoformat() if newest else None)
