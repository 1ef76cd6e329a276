"""Inviting, enrolling, and what a phone may change about itself."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import F

from ema_server.common.canonical import digest
from ema_server.common.errors import DomainError
from ema_server.participants.models import Consent, Device, EnrolmentCode, Participant, PersonTable
from ema_server.studies.models import Study

CODE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # no 0 O 1 I: people read codes aloud
CODE_LENGTH = 10  # 50 bits, single use, short-lived
CODE_LIFETIME = timedelta(days=30)


class CodeNotValid(DomainError):
    """Unknown, used up, expired: one answer for all, so that nobody can probe for codes."""

    code = "code_not_valid"


class StudyClosed(DomainError):
    code = "study_closed"


@dataclass(frozen=True, slots=True)
class Enrolment:
    participant: Participant
    device: Device
    token: str  # shown once; the server keeps its digest


def digest_of_secret(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@transaction.atomic
def invite(
    *,
    study: Study,
    pseudonym: str,
    now: datetime,
    first_day: date | None = None,
    last_day: date | None = None,
    test_person: bool = False,
) -> tuple[Participant, str]:
    """Expect one person and make the single-use code that lets their phone in."""
    participant = Participant.objects.create(
        study=study, pseudonym=pseudonym, first_day=first_day, last_day=last_day, test_person=test_person
    )
    return participant, _new_code(study=study, participant=participant, max_uses=1, now=now)


def open_study_code(*, study: Study, max_uses: int, now: datetime) -> str:
    """A code that anybody may use, for a poster or a class: each use makes a new participant."""
    return _new_code(study=study, participant=None, max_uses=max_uses, now=now)


@transaction.atomic
def enrol_participant(
    *, code: str, zone: str, consent_version: str, consented_at: datetime, device: dict[str, str], now: datetime
) -> Enrolment:
    """Let a phone in. The code is spent in the same statement that checks it: two phones cannot share a single use."""
    spent = EnrolmentCode.objects.filter(
        digest=digest_of_secret(code.strip().upper()), uses__lt=F("max_uses"), expires_at__gt=now
    ).update(uses=F("uses") + 1)
    if not spent:
        raise CodeNotValid("This code is unknown, used up or expired. Ask the study team for a new one.")
    row = EnrolmentCode.objects.select_related("study", "participant").get(
        digest=digest_of_secret(code.strip().upper())
    )
    study = row.study
    if study.state != Study.State.LIVE:
        raise StudyClosed(f"The study is {study.state}; it takes no new phones.")
    participant = row.participant or _next_participant(study)
    today = now.astimezone(ZoneInfo(zone)).date()
    if participant.state == Participant.State.WITHDRAWN:
        raise StudyClosed("This person has left the study; a new invitation is needed.")
    participant.zone = participant.zone or zone  # a second phone keeps the ledger; its zone comes by PUT device
    participant.first_day = participant.first_day or min(max(today, study.starts_on), study.ends_on)
    participant.last_day = participant.last_day or study.ends_on
    participant.state = Participant.State.ACTIVE
    participant.enrolled_at = participant.enrolled_at or now
    participant.save()
    Consent.objects.create(participant=participant, version=consent_version, given_at=consented_at, received_at=now)
    token = secrets.token_urlsafe(32)
    credential = Device.objects.create(
        participant=participant, token_digest=digest_of_secret(token), zone=zone, created_at=now, **device
    )
    return Enrolment(participant=participant, device=credential, token=token)


def update_device(*, device: Device, facts: dict[str, str]) -> None:
    """Keep what the phone says about itself: platform, versions, zone."""
    for name, value in facts.items():
        setattr(device, name, value)
    device.save(update_fields=list(facts))


@transaction.atomic
def import_person_table(*, study: Study, rows: dict[str, dict[str, Any]]) -> PersonTable:
    """A new version of the baseline covariates, by pseudonym."""
    Study.objects.select_for_update().get(pk=study.pk)
    newest = study.person_tables.order_by("-number").first()
    return PersonTable.objects.create(
        study=study, number=newest.number + 1 if newest else 1, rows=rows, digest=digest(rows)
    )


def _new_code(*, study: Study, participant: Participant | None, max_uses: int, now: datetime) -> str:
    code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    EnrolmentCode.objects.create(
        study=study,
        participant=participant,
        digest=digest_of_secret(code),
        max_uses=max_uses,
        expires_at=now + CODE_LIFETIME,
    )
    return code


def _next_participant(study: Study) -> Participant:
    """P001, P002 … in order of enrolment; the study's row is locked so that two phones get two numbers."""
    Study.objects.select_for_update().get(pk=study.pk)
    taken = set(study.participants.values_list("pseudonym", flat=True))
    number = next(n for n in range(1, len(taken) + 2) if f"P{n:03d}" not in taken)
    return Participant.objects.create(study=study, pseudonym=f"P{number:03d}")
