"""What a phone needs to know: its questionnaires, and the prompts of which nobody knows the outcome."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import msgspec

from ema_server.participants.models import Device
from ema_server.studies.queries import current_surveys

HORIZON = timedelta(days=14)
OUTCOMES = ("completed", "expired", "cancelled")


class PromptOut(msgspec.Struct, frozen=True):
    id: str
    questionnaire: str
    survey_version: int
    day: int
    slot: int
    scheduled_at: str
    expires_at: str
    local: str
    zone: str


class SurveyOut(msgspec.Struct, frozen=True):
    questionnaire: str
    version: int
    document: dict[str, Any]


class SyncContent(msgspec.Struct, frozen=True):
    """What the ETag covers: all but the clock."""

    surveys: list[SurveyOut]
    prompts: list[PromptOut]
    messages: list[dict[str, Any]]


class SyncOut(SyncContent, frozen=True, kw_only=True):
    server_time: str


def sync_content(device: Device, *, now: datetime) -> SyncContent:
    """The study's questionnaires, and this person's prompts that have no outcome yet, up to two weeks ahead.

    A phone that was away is told of the past too: it may hold answers that nobody has seen.
    """
    surveys = current_surveys(device.study)
    versions = {survey.questionnaire: survey.number for survey in surveys}
    prompts = (
        device.participant.prompts.filter(scheduled_at__lte=now + HORIZON, submission__isnull=True)
        .exclude(events__kind__in=OUTCOMES)
        .order_by("scheduled_at")
    )
    return SyncContent(
        surveys=[SurveyOut(survey.questionnaire, survey.number, survey.document) for survey in surveys],
        prompts=[
            PromptOut(
                id=str(prompt.pk),
                questionnaire=prompt.questionnaire,
                survey_version=versions[prompt.questionnaire],
                day=prompt.day,
                slot=prompt.slot,
                scheduled_at=prompt.scheduled_at.isoformat(),
                expires_at=prompt.expires_at.isoformat(),
                local=f"{prompt.local_date}T{prompt.local_time}",
                zone=prompt.zone,
            )
            for prompt in prompts
            if prompt.questionnaire in versions
        ],
        messages=[],
    )


def etag_of(content: SyncContent) -> str:
    return f'"{hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:32]}"'
