"""The quick way in: a batch in which everything is new and nothing is odd, in one statement that is one transaction.

What it needs to know of the phone and its study it remembers, and the statement looks at all of it again, while it holds the
person's row: the credential is open, the person was not erased and has not left, the study takes answers, no newer plan
came. Where anything is otherwise, of the batch or of what was remembered, nothing is written and the answer is None:
`services.record_submissions` then goes the long way, which knows every case. Both read and judge by the same functions, and a
test holds their receipts and rows against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

import msgspec
import psycopg
from django.db import DatabaseError, InterfaceError, connection, transaction

from ema_server.participants.models import Device, Participant
from ema_server.responses.services import (
    COLUMNS,
    DIGESTS,
    ROWS,
    VALUES,
    Accepted,
    Receipt,
    judge,
    read_submission,
    row_of,
)
from ema_server.sampling.follow_ups import rules_after
from ema_server.studies import states
from ema_server.studies.models import Study
from ema_server.studies.queries import current_sampling_plan
from ema_server.surveys.document import Survey
from ema_server.vault.services import holding_keys, owner_key

MOST: Final = 20_000  # phones that a process remembers
_STATES: Final = (Participant.State.ACTIVE.value, Participant.State.PAUSED.value)
_STUDIES: Final = states.ACTIONS["answers"].states


def _among(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


_STATEMENT: Final = f"""
WITH caller AS (
    SELECT d.id AS device_id, p.id AS participant_id, p.study_id
    FROM participants_device d
    JOIN participants_participant p ON p.id = d.participant_id
    JOIN studies_study s ON s.id = p.study_id
    WHERE d.id = %(device)s AND d.token_digest = %(token)s AND d.revoked_at IS NULL
        AND p.id = %(person)s AND p.key_id = %(key)s AND p.state IN ({_among(_STATES)})
        AND s.id = %(study)s AND s.state IN ({_among(_STUDIES)}) AND s.starts_on = %(starts_on)s
        AND NOT EXISTS (SELECT FROM studies_samplingplan n WHERE n.study_id = s.id AND n.number > %(plan)s)
        AND NOT EXISTS (SELECT FROM responses_submission h WHERE h.study_id = s.id AND h.client_id = ANY(%(ids)s))
    FOR NO KEY UPDATE OF p
), stored AS (
    INSERT INTO responses_submission ({COLUMNS})
    SELECT c.study_id, c.participant_id, c.device_id, %(now)s, {VALUES}
    FROM caller c CROSS JOIN {ROWS}
    LEFT JOIN sampling_prompt p ON p.id = r.prompt_id AND p.participant_id = c.participant_id
    ORDER BY r.client_id
), noted AS (
    INSERT INTO responses_upload (study_id, device_id, received_at, stored, duplicate, conflict, rejected)
    SELECT c.study_id, c.device_id, %(now)s, %(number)s, 0, 0, 0 FROM caller c
)
SELECT 1 FROM caller
"""


@dataclass(frozen=True, slots=True)
class _Version:
    pk: int
    survey: Survey


@dataclass(frozen=True, slots=True)
class _Study:
    starts_on: date
    plan: int  # the number of the newest; 0: none
    followed: frozenset[str]  # the questionnaires whose answers bring follow-ups about
    surveys: dict[tuple[str, int], _Version]


@dataclass(frozen=True, slots=True)
class Caller:
    """A phone as it was when it last called."""

    token: str  # the digest of its credential
    device: int
    person: int
    key_id: UUID
    study: int


_callers: dict[str, Caller] = {}
_studies: dict[int, _Study] = {}


def caller_of(token: str) -> Caller | None:
    """Whose credential has this digest, as this process remembers it."""
    return _callers.get(token)


def remember(device: Device, token: str) -> None:
    """The long way found this phone and its study as they are now."""
    if device.token_digest != token or device.revoked_at is not None:
        return  # the credential before the last rotation is good for a while, and looked at each time
    if len(_callers) >= MOST:
        forget()
    study = device.study
    if study.pk not in _studies:
        _studies[study.pk] = _as_it_is(study)
    person = device.participant
    _callers[token] = Caller(token, device.pk, person.pk, person.key_id, study.pk)


def forget() -> None:
    """Begin anew: what was remembered is found again when it is asked for."""
    _callers.clear()
    _studies.clear()


def _as_it_is(study: Study) -> _Study:
    plan = current_sampling_plan(study)
    surveys = {
        (version.questionnaire, version.number): _Version(version.pk, version.survey)
        for version in study.survey_versions.all()
    }
    names = {name for name, _ in surveys}
    followed = frozenset(name for name in names if plan is not None and rules_after(plan.document, name))
    return _Study(study.starts_on, plan.number if plan else 0, followed, surveys)


def record(*, caller: Caller, raw_items: Sequence[bytes], now: datetime) -> list[Receipt] | None:
    """The receipts, all of them `stored`; None where nothing was written."""
    study = _studies.get(caller.study)
    if study is None:
        return None
    with holding_keys(lately=caller.key_id):
        accepted = _all_plain(raw_items, study, key=owner_key(caller.key_id, DIGESTS))
        if accepted is None:
            _studies.pop(caller.study, None)  # a version may have been published since
            return None
        rows = [
            row_of(each, study_id=caller.study, starts_on=study.starts_on, key_id=caller.key_id, now=now)
            for each in accepted
        ]
    values = {
        "device": caller.device,
        "token": caller.token,
        "person": caller.person,
        "key": caller.key_id,
        "study": caller.study,
        "starts_on": study.starts_on,
        "plan": study.plan,
        "ids": [each.item.client_id for each in accepted],
        "now": now,
        "number": len(rows),
        "rows": msgspec.json.encode(rows).decode(),
    }
    if not _written(values):
        _callers.pop(caller.token, None)
        _studies.pop(caller.study, None)
        return None
    return [Receipt(str(each.item.client_id), "stored") for each in accepted]


def _all_plain(raw_items: Sequence[bytes], study: _Study, *, key: bytes) -> list[Accepted] | None:
    """The items, if all can be judged by what they say and the version that they answer, and nothing follows them."""
    accepted: list[Accepted] = []
    for raw in raw_items:
        each = read_submission(raw, surveys=study.surveys, key=key)
        if not isinstance(each, Accepted) or each.survey.survey.facts or each.item.questionnaire in study.followed:
            return None
        if not isinstance(judge(each, {}), Accepted):
            return None
        accepted.append(each)
    return accepted if len({each.item.client_id for each in accepted}) == len(accepted) else None


def _written(values: dict[str, object]) -> bool:
    """One round trip, and durable when it returns. A value that the database refuses, an id that somebody takes at this very
    moment, a connection that has gone: the long way finds out which."""
    inside: AbstractContextManager[object] = transaction.atomic() if connection.in_atomic_block else nullcontext()
    try:
        with inside:
            connection.ensure_connection()
            with connection.wrap_database_errors:
                connection.connection.prepare_threshold = 0  # Django's own cursors prepare nothing, whatever it says
                plain = psycopg.Cursor(connection.connection)
                found = plain.execute(_STATEMENT, values, prepare=True).fetchone()
    except (DatabaseError, InterfaceError):
        return False
    return found is not None
