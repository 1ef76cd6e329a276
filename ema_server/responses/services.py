"""Intake: a batch of submissions becomes receipts, one for each item, after one durable commit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.db import DataError, connection, transaction

from ema_server.common.canonical import canonical_json
from ema_server.common.nesting import deeper_than
from ema_server.common.openapi import RECEIPT_CODE, one_of
from ema_server.common.phone_time import believable, offset_minutes, parse_phone_time
from ema_server.participants.models import Device, Participant
from ema_server.participants.services import hold
from ema_server.responses.content import split
from ema_server.responses.models import Conflict, Quarantined, Submission, Upload
from ema_server.sampling.follow_ups import Answered, plan_follow_ups, rules_after
from ema_server.sampling.models import Prompt
from ema_server.sampling.queries import Facts, facts_of, facts_of_person
from ema_server.studies import states
from ema_server.studies.models import Study, SurveyVersion
from ema_server.studies.queries import current_sampling_plan
from ema_server.surveys import answers
from ema_server.vault.fields import Seal
from ema_server.vault.sealing import keyed_digest
from ema_server.vault.services import holding_keys, owner_key

MAX_ITEMS = 500
MAX_ITEM_BYTES = 64 * 1024
MAX_DEPTH = 20  # what is stored must be readable in a process with a deeper stack than this one


class SubmissionIn(msgspec.Struct, frozen=True):
    """One filled-in questionnaire. `client_id` is the phone's own UUID, kept through every retry; `shown` are the items'
    names in the order in which they were shown, where a page has a random one."""

    client_id: UUID
    questionnaire: str
    survey_version: int
    answers: dict[str, Any]
    answered_at: str
    prompt: UUID | None = None
    started_at: str | None = None
    zone: str | None = None
    complete: bool = True
    shown: list[str] | None = None


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one item. `stored` and `duplicate` are durable: the phone may delete its copy."""

    client_id: str
    status: Annotated[str, one_of("stored", "duplicate", "conflict", "rejected")]
    code: Annotated[str, RECEIPT_CODE] = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Accepted:
    item: SubmissionIn
    payload: dict[str, Any]
    digest: str
    survey: SurveyVersion
    raw: bytes


@dataclass(frozen=True, slots=True)
class _Refused:
    client_id: str
    code: str
    detail: str
    raw: bytes


@transaction.atomic
def record_submissions(*, device: Device, raw_items: Sequence[bytes], now: datetime) -> list[Receipt]:
    """Store what one phone sent. Sent twice it is stored once; changed, both are kept; refused, quarantined first.

    A poison item never blocks its neighbours, and the order of items or batches changes nothing.
    """
    with holding_keys():
        return _record(device=device, raw_items=raw_items, now=now)


def _record(*, device: Device, raw_items: Sequence[bytes], now: datetime) -> list[Receipt]:
    person = hold(device.participant)
    study = person.study
    surveys = _surveys_of(study)
    read = [_read(raw, device=device, surveys=surveys) for raw in raw_items]
    facts = _facts(device, [each for each in read if isinstance(each, _Accepted)])
    judged = _judged(read, facts, study=study)
    if not states.allows(study.state, "answers"):
        judged = _without_news(judged, study=study)
    follow = partial(_plan_what_follows, person=person, facts=facts, now=now)
    judged, inserted = _store(judged, device=device, now=now, before=follow)
    refused = [each for each in judged if isinstance(each, _Refused)]
    known = _digests_held(device.study, [each.item.client_id for each in judged if isinstance(each, _Accepted)])

    receipts = []
    for each in judged:
        if isinstance(each, _Refused):
            receipts.append(Receipt(each.client_id, "rejected", each.code, each.detail))
            continue
        client_id = each.item.client_id
        submission_id, participant_id, held = known[client_id]
        if participant_id != device.participant_id:  # another person's id: the same words as for any unusable one
            refused.append(_Refused(str(client_id), "client_id_taken", "client_id: use a fresh UUID.", each.raw))
            receipts.append(Receipt(str(client_id), "rejected", "client_id_taken", "client_id: use a fresh UUID."))
        elif held != each.digest:
            _keep_conflict(each, submission_id=submission_id, now=now)
            detail = "Another content is stored under this client_id; both are kept."
            receipts.append(Receipt(str(client_id), "conflict", "other_content", detail))
        elif client_id in inserted:
            inserted.discard(client_id)  # the same item twice in one batch: the second is a duplicate
            receipts.append(Receipt(str(client_id), "stored"))
        else:
            receipts.append(Receipt(str(client_id), "duplicate"))
    _quarantine(refused, device=device, now=now)
    counts = Counter(receipt.status for receipt in receipts)
    Upload.objects.create(study=device.study, device=device, received_at=now, **counts)
    return receipts


def _read(raw: bytes, *, device: Device, surveys: dict[tuple[str, int], SurveyVersion]) -> _Accepted | _Refused:
    """One item as values, with the version that it answers. Nothing is refused for its timing."""
    client_id = _client_id_of(raw)

    def refuse(code: str, detail: str) -> _Refused:
        return _Refused(client_id, code, detail, raw)

    if len(raw) > MAX_ITEM_BYTES:
        return refuse("item_too_large", f"An item may hold at most {MAX_ITEM_BYTES} bytes.")
    if b"\\u0000" in raw:
        return refuse("malformed", "NUL characters cannot be stored.")
    try:
        payload = msgspec.json.decode(raw)
        if deeper_than(payload, MAX_DEPTH):
            return refuse("malformed", f"An item may be nested {MAX_DEPTH} deep.")
        item = msgspec.convert(payload, SubmissionIn)
        digest_of_item = _digest(canonical_json(payload), device)
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError) as error:
        return refuse("malformed", str(error)[:300])
    survey = surveys.get((item.questionnaire, item.survey_version))
    if survey is None:
        return refuse(
            "unknown_survey_version",
            f"survey_version: {item.questionnaire[:40]!r} {item.survey_version} was never published here.",
        )
    for name, text in (("answered_at", item.answered_at), ("started_at", item.started_at)):
        if text is not None and parse_phone_time(text) is None:
            return refuse(
                "malformed_time", f"{name}: {text[:40]!r} is no time with an offset, like 2026-03-02T09:30:00+01:00."
            )
    return _Accepted(item, payload, digest_of_item, survey, raw)


def _facts(device: Device, read: Sequence[_Accepted]) -> dict[UUID | None, Facts]:
    """What the questionnaires' conditions may ask about each prompt, and under None about the person alone."""
    if not any(each.survey.survey.facts for each in read):
        return {}
    named = {each.item.prompt for each in read if each.item.prompt}
    mine = Prompt.objects.filter(participant_id=device.participant_id, id__in=named).select_related(
        "participant", "decision"
    )
    known: dict[UUID | None, Facts] = {None: facts_of_person(device.participant)}
    for prompt, facts in facts_of(mine).items():
        known[prompt] = facts
    return known


def _judged(
    read: Sequence[_Accepted | _Refused], facts: Mapping[UUID | None, Facts], *, study: Study
) -> list[_Accepted | _Refused]:
    """Each item accepted or refused. Facts change (somebody is moved to another arm): what was stored by the old ones
    stays a duplicate when it comes again."""
    judged = [_judge(each, facts) if isinstance(each, _Accepted) else each for each in read]
    pairs = list(zip(read, judged, strict=True))
    doubtful = [each for each, verdict in pairs if isinstance(each, _Accepted) and isinstance(verdict, _Refused)]
    if not facts or not doubtful:
        return judged
    held = _digests_held(study, [each.item.client_id for each in doubtful])
    known = [each for each in doubtful if held.get(each.item.client_id, (0, 0, ""))[2] == each.digest]
    return [each if each in known else verdict for each, verdict in pairs]


def _judge(each: _Accepted, facts: Mapping[UUID | None, Facts]) -> _Accepted | _Refused:
    """Whether the answers fit the version that the person was shown."""
    item, survey = each.item, each.survey.survey
    known = _known(item, facts)
    faults = answers.faults(survey, item.answers, complete=item.complete, facts=known)
    if faults and known.get("option"):  # the phone found the person not available, so it did not do what was drawn
        without = {**known, "option": ""}
        faults = answers.faults(survey, item.answers, complete=item.complete, facts=without)
    if item.shown is not None:
        faults += answers.order_faults(survey, item.shown)
    if faults:
        return _Refused(str(item.client_id), "invalid_answer", " ".join(faults)[:1000], each.raw)
    return each


def _known(item: SubmissionIn, facts: Mapping[UUID | None, Facts]) -> Facts:
    return facts.get(item.prompt) or facts.get(None) or {}


def _digest(content: bytes, device: Device) -> str:
    """Keyed by the person's own key: an answer is easily guessed from a plain digest, and erasure ends it."""
    return keyed_digest(content, key=owner_key(device.participant.key_id, "answer digests"))


def _keep_conflict(each: _Accepted, *, submission_id: int, now: datetime) -> None:
    if Conflict.objects.filter(submission_id=submission_id, digest=each.digest).exists():
        return
    submission = Submission.objects.select_related("participant").get(pk=submission_id)
    shown, hidden = split(each.payload, each.survey.survey)
    Conflict.objects.bulk_create(
        [Conflict(submission=submission, digest=each.digest, payload=shown, sealed=hidden, received_at=now)],
        ignore_conflicts=True,
    )


def _without_news(judged: list[_Accepted | _Refused], *, study: Study) -> list[_Accepted | _Refused]:
    """In a locked study: a retry of what is stored stays a duplicate; anything new goes to quarantine."""
    held = _digests_held(study, [each.item.client_id for each in judged if isinstance(each, _Accepted)])
    detail = "The data of this study are locked; the answer is in quarantine."
    return [
        _Refused(str(each.item.client_id), "study_locked", detail, each.raw)
        if isinstance(each, _Accepted) and each.digest != held.get(each.item.client_id, (0, 0, ""))[2]
        else each
        for each in judged
    ]


def _store(
    judged: list[_Accepted | _Refused],
    *,
    device: Device,
    now: datetime,
    before: Callable[[Sequence[_Accepted]], None],
) -> tuple[list[_Accepted | _Refused], set[UUID]]:
    """Insert what was accepted, after what has to be there before it. If the database refuses to hold a value that the rules let pass, find out which item it
    is and refuse that one alone: a batch that failed whole would be sent again for ever."""
    try:
        with transaction.atomic():
            accepted = [each for each in judged if isinstance(each, _Accepted)]
            before(accepted)
            return judged, _insert_new(accepted, device=device, now=now)
    except DataError:
        pass
    found: list[_Accepted | _Refused] = []
    inserted: set[UUID] = set()
    for each in judged:
        if isinstance(each, _Accepted):
            try:
                with transaction.atomic():
                    before([each])
                    inserted |= _insert_new([each], device=device, now=now)
            except DataError as error:
                reason = str(error).splitlines()[0]
                found.append(_Refused(str(each.item.client_id), "cannot_be_stored", reason, each.raw))
                continue
        found.append(each)
    return found, inserted


def _insert_new(accepted: Sequence[_Accepted], *, device: Device, now: datetime) -> set[UUID]:
    """Insert what is new, in one statement; returns the client ids that this call stored."""
    if not accepted:
        return set()
    wanted = [each.item.prompt for each in accepted if each.item.prompt]
    mine = set(Prompt.objects.filter(participant_id=device.participant_id, id__in=wanted).values_list("id", flat=True))
    rows = []
    for each in accepted:
        moment = _answered_at(each.item, study=device.study, now=now)
        shown, hidden = split(each.payload, each.survey.survey)
        rows.append(
            {
                "client_id": str(each.item.client_id),
                "digest": each.digest,
                "survey_version_id": each.survey.pk,
                "prompt_id": str(each.item.prompt) if each.item.prompt in mine else None,
                "payload": shown,
                "sealed": _sealed(hidden, each, device),
                "complete": each.item.complete,
                "answered_at": moment.isoformat() if moment else None,
                "utc_offset_minutes": offset_minutes(each.item.answered_at),
            }
        )
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO responses_submission (study_id, participant_id, device_id, received_at, client_id, digest,
                survey_version_id, prompt_id, payload, sealed, complete, answered_at, utc_offset_minutes)
            SELECT %s, %s, %s, %s, r.* FROM jsonb_to_recordset(%s::jsonb) AS r(client_id uuid, digest text,
                survey_version_id bigint, prompt_id uuid, payload jsonb, sealed bytea, complete boolean,
                answered_at timestamptz, utc_offset_minutes smallint)
            ON CONFLICT (study_id, client_id) DO NOTHING
            RETURNING client_id
            """,
            [device.study.pk, device.participant_id, device.pk, now, json.dumps(rows)],
        )
        return {row[0] for row in cursor.fetchall()}


def _answered_at(item: SubmissionIn, *, study: Study, now: datetime) -> datetime | None:
    """By the phone's clock, where it can be believed."""
    moment = parse_phone_time(item.answered_at)
    believed = moment is not None and believable(moment, study_start=study.starts_on, now=now)
    return moment.astimezone(UTC) if believed and moment else None


def _plan_what_follows(
    accepted: Sequence[_Accepted], *, person: Participant, facts: Mapping[UUID | None, Facts], now: datetime
) -> None:
    """The follow-ups of what is new here, before it is stored: an item of the same batch may answer one. An answer that the
    phone dates after its arrival was finished when it arrived."""
    study, plan = person.study, current_sampling_plan(person.study)
    first = {each.item.client_id: each for each in reversed(accepted)}  # where an id is there twice
    followed = {
        client_id: each
        for client_id, each in first.items()
        if plan is not None and each.item.complete and rules_after(plan.document, each.item.questionnaire)
    }
    if plan is None or not followed:
        return
    held = _digests_held(study, list(followed))
    new = [
        Answered(
            client_id,
            each.item.questionnaire,
            min(_answered_at(each.item, study=study, now=now) or now, now),
            each.item.prompt,
            answers.counted(each.survey.survey, each.item.answers, _known(each.item, facts)),
        )
        for client_id, each in followed.items()
        if client_id not in held
    ]
    if new:
        plan_follow_ups(participant=person, plan=plan, answers=new, now=now)


def _sealed(hidden: str | None, each: _Accepted, device: Device) -> str | None:
    """The sealed part as PostgreSQL reads bytes in JSON."""
    if hidden is None:
        return None
    seal = Seal(device.participant.key_id, device.study.pk, str(each.item.client_id))
    return "\\x" + Submission._meta.get_field("sealed").sealed(hidden, seal).hex()


def _digests_held(study: Study, client_ids: Sequence[UUID]) -> dict[UUID, tuple[int, int, str]]:
    """What is stored under these client ids: row, person, digest."""
    held = Submission.objects.filter(study=study, client_id__in=client_ids)
    return {
        client_id: (pk, person, sha)
        for pk, client_id, person, sha in held.values_list("pk", "client_id", "participant_id", "digest")
    }


def _quarantine(refused: Sequence[_Refused], *, device: Device, now: datetime) -> None:
    Quarantined.objects.bulk_create(
        [
            Quarantined(
                study=device.study,
                participant=device.participant,
                device=device,
                digest=_digest(each.raw, device),
                body=each.raw.decode(errors="surrogateescape"),
                code=each.code,
                detail=each.detail,
                received_at=now,
            )
            for each in refused
        ],
        ignore_conflicts=True,
    )


def _surveys_of(study: Study) -> dict[tuple[str, int], SurveyVersion]:
    return {(version.questionnaire, version.number): version for version in study.survey_versions.all()}


def _client_id_of(raw: bytes) -> str:
    """The item's own name for the receipt, as far as it can be read."""
    try:
        value = msgspec.json.decode(raw)
        return str(value.get("client_id", ""))[:40] if isinstance(value, dict) else ""
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ""
