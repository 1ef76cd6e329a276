"""Intake: a batch of submissions becomes receipts, one for each item, after one durable commit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Annotated, Any, Final, Protocol
from uuid import UUID

import msgspec
from django.db import DataError, IntegrityError, OperationalError, connection, transaction
from django.db.models import Count, F, Func, IntegerField, Sum

from ema_server.common.canonical import read_item
from ema_server.common.openapi import RECEIPT_CODE, one_of, said
from ema_server.common.outage import sqlstate_of
from ema_server.common.phone_time import believable, offset_minutes, parse_phone_time
from ema_server.common.shapes import fault_of
from ema_server.participants.authentication import closed_code
from ema_server.participants.models import Device, Participant
from ema_server.participants.services import CLOSED, DeviceClosed, hold
from ema_server.responses.content import split
from ema_server.responses.models import Conflict, Quarantined, Submission, Upload
from ema_server.sampling.follow_ups import Answered, follow_up_id, plan_follow_ups, rules_after
from ema_server.sampling.models import Prompt
from ema_server.sampling.queries import Facts, facts_of, facts_of_person, rules_asked_on_withdrawal
from ema_server.studies import states
from ema_server.studies.models import Study, SurveyVersion
from ema_server.studies.queries import current_sampling_plan
from ema_server.surveys import answers
from ema_server.surveys.document import Survey
from ema_server.vault.fields import Seal
from ema_server.vault.sealing import keyed_digest
from ema_server.vault.services import holding_keys, owner_key

MAX_ITEMS = 500
MAX_ITEM_BYTES = 64 * 1024
MAX_DEPTH = 20  # what is stored must be readable in a process with a deeper stack than this one
CLOSED_ITEMS, CLOSED_BYTES = 5_000, 50 * 1024 * 1024  # what quarantine takes of one phone whose credential is closed
DIGESTS: Final = "answer digests"  # the purpose of the key: an answer is easily guessed from a plain digest
ATTEMPTS: Final = 3
CHECK_VIOLATION: Final = "23514"
AT_THE_SAME_TIME: Final = ("40001", "40P01")  # SQLSTATE: two did what cannot be done at once, and one of them lost


class SubmissionIn(msgspec.Struct, frozen=True):
    """One filled-in questionnaire. `client_id` is the phone's own UUID, kept through every retry; `shown` are the items'
    names in the order in which they were shown, where a page has a random one."""

    client_id: UUID
    questionnaire: str
    survey_version: int
    answers: dict[str, Any]
    answered_at: Annotated[str, said("by the phone's clock, with its offset: 2026-03-02T09:30:00+01:00")]
    prompt: UUID | None = None
    started_at: str | None = None
    zone: str | None = None
    complete: bool = True
    shown: list[str] | None = None
    response_ms: Annotated[
        dict[str, int] | None,
        said("by item: milliseconds from when it was shown until it was last answered, at most 604800000 (7 days)"),
    ] = None


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one item. `stored` and `duplicate` are durable: the phone may delete its copy."""

    client_id: str
    status: Annotated[str, one_of("stored", "duplicate", "conflict", "rejected")]
    code: Annotated[str, RECEIPT_CODE] = ""
    detail: str = ""


class Published(Protocol):
    """A version of a questionnaire: its row's number, and what it says."""

    @property
    def pk(self) -> int: ...
    @property
    def survey(self) -> Survey: ...


@dataclass(frozen=True, slots=True)
class Accepted:
    item: SubmissionIn
    payload: dict[str, Any]
    digest: str
    survey: Published
    raw: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    client_id: str
    code: str
    detail: str
    raw: bytes


def record_submissions(*, device: Device, raw_items: Sequence[bytes], now: datetime) -> list[Receipt]:
    """Store what one phone sent. Sent twice it is stored once; changed, both are kept; refused, quarantined first.

    A poison item never blocks its neighbours, and the order of items or batches changes nothing. Where two phones wrote the
    same ids at the same time, who lost tries again and finds what the other one stored.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with transaction.atomic(), holding_keys(lately=device.participant.key_id):
                return _record(device=device, raw_items=raw_items, now=now)
        except (IntegrityError, OperationalError) as error:
            raced = isinstance(error, IntegrityError) or sqlstate_of(error) in AT_THE_SAME_TIME
            if not raced or attempt == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _record(*, device: Device, raw_items: Sequence[bytes], now: datetime) -> list[Receipt]:
    person = hold(device.participant)
    study = person.study
    surveys = _surveys_of(study)
    key = owner_key(person.key_id, DIGESTS)
    read = [read_submission(raw, surveys=surveys, key=key) for raw in raw_items]
    facts = _facts(device, [each for each in read if isinstance(each, Accepted)])
    judged = _judged(read, facts, study=study)
    judged = _barred(judged, device=device, person=person)
    follow = partial(_plan_what_follows, person=person, facts=facts, now=now)
    judged, inserted = _store(judged, device=device, now=now, before=follow)
    refused = [each for each in judged if isinstance(each, Refused)]
    known = _digests_held(device.study, [each.item.client_id for each in judged if isinstance(each, Accepted)])

    receipts = []
    for each in judged:
        if isinstance(each, Refused):
            receipts.append(Receipt(each.client_id, "rejected", each.code, each.detail))
            continue
        client_id = each.item.client_id
        submission_id, participant_id, held = known[client_id]
        if participant_id != device.participant_id:  # another person's id: the same words as for any unusable one
            refused.append(Refused(str(client_id), "client_id_taken", "client_id: use a fresh UUID.", each.raw))
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
    _quarantine(refused, device=device, key=key, now=now)
    counts = Counter(receipt.status for receipt in receipts)
    Upload.objects.create(study=device.study, device=device, received_at=now, **counts)
    return receipts


def read_submission(raw: bytes, *, surveys: Mapping[tuple[str, int], Published], key: bytes) -> Accepted | Refused:
    """One item as values, with the version that it answers. Nothing is refused for its timing."""

    def refuse(code: str, detail: str) -> Refused:
        return Refused(_client_id_of(raw), code, detail, raw)

    if len(raw) > MAX_ITEM_BYTES:
        return refuse("item_too_large", f"An item of {len(raw)} bytes was sent; it may hold at most {MAX_ITEM_BYTES}.")
    try:
        payload, canonical = read_item(raw, deepest=MAX_DEPTH)
        item = msgspec.convert(payload, SubmissionIn)
    except msgspec.ValidationError as error:
        return refuse("malformed", fault_of(error, payload)[:300])
    except ValueError as error:
        return refuse("malformed", str(error)[:300])
    survey = surveys.get((item.questionnaire, item.survey_version))
    if survey is None:
        return refuse(
            "unknown_survey_version",
            f"survey_version: {item.questionnaire[:40]!r} {item.survey_version} was never published here; "
            "GET sync tells which there are.",
        )
    for name, text in (("answered_at", item.answered_at), ("started_at", item.started_at)):
        if text is not None and parse_phone_time(text) is None:
            return refuse(
                "malformed_time", f"{name}: {text[:40]!r} is no time with an offset, like 2026-03-02T09:30:00+01:00."
            )
    return Accepted(item, payload, keyed_digest(canonical, key=key), survey, raw)


def _facts(device: Device, read: Sequence[Accepted]) -> dict[UUID | None, Facts]:
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
    read: Sequence[Accepted | Refused], facts: Mapping[UUID | None, Facts], *, study: Study
) -> list[Accepted | Refused]:
    """Each item accepted or refused. Facts change (somebody is moved to another arm): what was stored by the old ones
    stays a duplicate when it comes again."""
    judged = [judge(each, facts) if isinstance(each, Accepted) else each for each in read]
    pairs = list(zip(read, judged, strict=True))
    doubtful = [each for each, verdict in pairs if isinstance(each, Accepted) and isinstance(verdict, Refused)]
    if not facts or not doubtful:
        return judged
    held = _digests_held(study, [each.item.client_id for each in doubtful])
    known = [each for each in doubtful if held.get(each.item.client_id, (0, 0, ""))[2] == each.digest]
    return [each if each in known else verdict for each, verdict in pairs]


def judge(each: Accepted, facts: Mapping[UUID | None, Facts]) -> Accepted | Refused:
    """Whether the answers fit the version that the person was shown."""
    item, survey = each.item, each.survey.survey
    known = _known(item, facts)
    faults = answers.faults(survey, item.answers, complete=item.complete, facts=known)
    if faults and known.get("option"):  # the phone found the person not available, so it did not do what was drawn
        without = {**known, "option": ""}
        faults = answers.faults(survey, item.answers, complete=item.complete, facts=without)
    if item.shown is not None:
        faults += answers.order_faults(survey, item.shown)
    if item.response_ms is not None:
        faults += answers.response_time_faults(survey, item.response_ms)
    if faults:
        return Refused(str(item.client_id), "invalid_answer", " ".join(faults)[:1000], each.raw)
    return each


def _known(item: SubmissionIn, facts: Mapping[UUID | None, Facts]) -> Facts:
    return facts.get(item.prompt) or facts.get(None) or {}


def _keep_conflict(each: Accepted, *, submission_id: int, now: datetime) -> None:
    if Conflict.objects.filter(submission_id=submission_id, digest=each.digest).exists():
        return
    submission = Submission.objects.select_related("participant").get(pk=submission_id)
    shown, hidden = split(each.payload, each.survey.survey)
    Conflict.objects.bulk_create(
        [Conflict(submission=submission, digest=each.digest, payload=shown, sealed=hidden, received_at=now)],
        ignore_conflicts=True,
    )


def _barred(judged: list[Accepted | Refused], *, device: Device, person: Participant) -> list[Accepted | Refused]:
    """What a closed credential, locked data or a withdrawal keep out goes to quarantine. A retry of what is stored stays a
    duplicate, and whoever leaves may answer what the plan asks of them then."""
    closed, asked_of_leavers = closed_code(device), set[UUID]()
    if closed:
        code, why = f"device_{closed}", CLOSED[Device.Closed(closed)]
    elif not states.allows(person.study.state, "answers"):
        code, why = "study_locked", "The data of this study are locked."
    elif person.state == Participant.State.WITHDRAWN:
        code, why = "withdrawn", "The person has withdrawn from the study."
        named = {each.item.prompt for each in judged if isinstance(each, Accepted) and each.item.prompt}
        rules = rules_asked_on_withdrawal(person.study)
        asked_of_leavers.update(person.prompts.filter(pk__in=named, rule__in=rules).values_list("pk", flat=True))
    else:
        return judged
    held = _digests_held(person.study, [each.item.client_id for each in judged if isinstance(each, Accepted)])

    def verdict(each: Accepted | Refused) -> Accepted | Refused:
        if isinstance(each, Refused):
            return Refused(each.client_id, code, f"{why} The item is in quarantine.", each.raw) if closed else each
        _, whose, digest = held.get(each.item.client_id, (0, 0, ""))
        if (whose, digest) == (person.pk, each.digest) or each.item.prompt in asked_of_leavers:
            return each
        return Refused(str(each.item.client_id), code, f"{why} The item is in quarantine.", each.raw)

    return [verdict(each) for each in judged]


def _store(
    judged: list[Accepted | Refused],
    *,
    device: Device,
    now: datetime,
    before: Callable[[Sequence[Accepted]], None],
) -> tuple[list[Accepted | Refused], set[UUID]]:
    """Insert what was accepted, after what has to be there before it. If the database refuses to hold a value that the rules let pass, find out which item it
    is and refuse that one alone: a batch that failed whole would be sent again for ever."""
    try:
        with transaction.atomic():
            accepted = [each for each in judged if isinstance(each, Accepted)]
            before(accepted)
            return judged, _insert_new(accepted, device=device, now=now)
    except (DataError, IntegrityError) as error:
        _require_its_own_fault(error)
    found: list[Accepted | Refused] = []
    inserted: set[UUID] = set()
    for each in judged:
        if isinstance(each, Accepted):
            try:
                with transaction.atomic():
                    before([each])
                    inserted |= _insert_new([each], device=device, now=now)
            except (DataError, IntegrityError) as error:
                _require_its_own_fault(error)
                reason = str(error).splitlines()[0]
                found.append(Refused(str(each.item.client_id), "cannot_be_stored", reason, each.raw))
                continue
        found.append(each)
    return found, inserted


def _require_its_own_fault(error: Exception) -> None:
    """Go on where some value is one that the database does not hold. An id that another phone took meanwhile is none."""
    if isinstance(error, IntegrityError) and sqlstate_of(error) != CHECK_VIOLATION:
        raise error


def _insert_new(accepted: Sequence[Accepted], *, device: Device, now: datetime) -> set[UUID]:
    """Insert what is new, in one statement; returns the client ids that this call stored. In the order of the ids, so that
    two who send the same ones wait for each other and neither for both."""
    if not accepted:
        return set()
    study, key_id = device.study, device.participant.key_id
    rows = [row_of(each, study_id=study.pk, starts_on=study.starts_on, key_id=key_id, now=now) for each in accepted]
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO responses_submission ({COLUMNS})
            SELECT %(study)s, %(person)s, %(device)s, %(now)s, {VALUES} FROM {ROWS}
            LEFT JOIN sampling_prompt p ON p.id = r.prompt_id AND p.participant_id = %(person)s
            ORDER BY r.client_id
            ON CONFLICT (study_id, client_id) DO NOTHING
            RETURNING client_id
            """,
            {
                "study": study.pk,
                "person": device.participant_id,
                "device": device.pk,
                "now": now,
                "rows": msgspec.json.encode(rows).decode(),
            },
        )
        return {row[0] for row in cursor.fetchall()}


COLUMNS: Final = (
    "study_id, participant_id, device_id, received_at, client_id, digest, survey_version_id, prompt_id, payload, sealed, "
    "complete, answered_at, utc_offset_minutes"
)
VALUES: Final = "r.client_id, r.digest, r.survey_version_id, p.id, r.payload, r.sealed, r.complete, r.answered_at, r.utc_offset_minutes"
ROWS: Final = """jsonb_to_recordset(%(rows)s::jsonb) AS r(client_id uuid, digest text, survey_version_id bigint,
    prompt_id uuid, payload jsonb, sealed bytea, complete boolean, answered_at timestamptz, utc_offset_minutes smallint)"""


def row_of(each: Accepted, *, study_id: int, starts_on: date, key_id: UUID, now: datetime) -> dict[str, Any]:
    """An accepted item as `ROWS` reads it. Its prompt may be nobody's, or another's: whoever inserts looks."""
    moment = _answered_at(each.item, starts_on=starts_on, now=now)
    shown, hidden = split(each.payload, each.survey.survey)
    return {
        "client_id": each.item.client_id,
        "digest": each.digest,
        "survey_version_id": each.survey.pk,
        "prompt_id": each.item.prompt,
        "payload": shown,
        "sealed": None if hidden is None else _sealed(hidden, Seal(key_id, study_id, str(each.item.client_id))),
        "complete": each.item.complete,
        "answered_at": moment.isoformat() if moment else None,
        "utc_offset_minutes": offset_minutes(each.item.answered_at),
    }


def _answered_at(item: SubmissionIn, *, starts_on: date, now: datetime) -> datetime | None:
    """By the phone's clock, where it can be believed."""
    moment = parse_phone_time(item.answered_at)
    believed = moment is not None and believable(moment, study_start=starts_on, now=now)
    return moment.astimezone(UTC) if believed and moment else None


def _plan_what_follows(
    accepted: Sequence[Accepted], *, person: Participant, facts: Mapping[UUID | None, Facts], now: datetime
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
            min(_answered_at(each.item, starts_on=study.starts_on, now=now) or now, now),
            each.item.prompt,
            answers.counted(each.survey.survey, each.item.answers, _known(each.item, facts)),
        )
        for client_id, each in followed.items()
        if client_id not in held
    ]
    if new and plan_follow_ups(participant=person, plan=plan, answers=new, now=now):
        ids = [
            follow_up_id(each.client_id, rule["key"])
            for each in new
            for rule in rules_after(plan.document, each.questionnaire)
        ]
        _bind_what_came_first(person, ids)


def _bind_what_came_first(person: Participant, prompts: Sequence[UUID]) -> None:
    """An answer to a follow-up may arrive before the answer that it follows, and so before its prompt is known here. Then
    it was an orphan until now. The one change of a submission that the database allows; what was sent stays as it is."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE responses_submission s SET prompt_id = p.id FROM sampling_prompt p
            WHERE s.participant_id = %s AND s.prompt_id IS NULL AND s.payload->>'prompt' IS NOT NULL
                AND p.participant_id = s.participant_id AND p.id = ANY(%s) AND (s.payload->>'prompt')::uuid = p.id
            """,
            [person.pk, list(prompts)],
        )


def _sealed(hidden: str, seal: Seal) -> str:
    """The sealed part as PostgreSQL reads bytes in JSON."""
    return "\\x" + Submission._meta.get_field("sealed").sealed(hidden, seal).hex()


def _digests_held(study: Study, client_ids: Sequence[UUID]) -> dict[UUID, tuple[int, int, str]]:
    """What is stored under these client ids: row, person, digest."""
    held = Submission.objects.filter(study=study, client_id__in=client_ids)
    return {
        client_id: (pk, person, sha)
        for pk, client_id, person, sha in held.values_list("pk", "client_id", "participant_id", "digest")
    }


def _quarantine(refused: Sequence[Refused], *, device: Device, key: bytes, now: datetime) -> None:
    rows = {
        each_digest: Quarantined(
            study=device.study,
            participant=device.participant,
            device=device,
            client_id=_uuid_or_none(each.client_id),
            digest=each_digest,
            body=each.raw.decode(errors="surrogateescape"),
            code=each.code,
            detail=each.detail,
            received_at=now,
        )
        for each in refused
        for each_digest in [keyed_digest(each.raw, key=key)]
    }
    if closed_code(device):
        _require_room(rows, device=device)
    Quarantined.objects.bulk_create(rows.values(), ignore_conflicts=True)


def _require_room(rows: Mapping[str, Quarantined], *, device: Device) -> None:
    """A closed credential may be in anybody's hands: what it can fill is bounded, and beyond that it is refused."""
    before = Quarantined.objects.filter(device=device)
    known = set(before.filter(digest__in=list(rows)).values_list("digest", flat=True))
    new = [len(row.body) for digest, row in rows.items() if digest not in known]
    size = Func(F("body"), function="octet_length", output_field=IntegerField())
    held = before.filter(code__startswith="device_").aggregate(items=Count("pk"), size=Sum(size, default=0))
    if new and (held["items"] + len(new) > CLOSED_ITEMS or held["size"] + sum(new) > CLOSED_BYTES):
        raise DeviceClosed(device)  # as it is refused everywhere else


def _surveys_of(study: Study) -> dict[tuple[str, int], SurveyVersion]:
    return {(version.questionnaire, version.number): version for version in study.survey_versions.all()}


def _client_id_of(raw: bytes) -> str:
    """The item's own name for the receipt, as far as it can be read."""
    try:
        value = msgspec.json.decode(raw, type=_Named)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        found = _NAME.search(raw)
        return found[1].decode() if found else ""
    return value.client_id[:40] if isinstance(value.client_id, str) else ""


class _Named(msgspec.Struct):
    client_id: Any = ""


_NAME = re.compile(rb'"client_id"\s*:\s*"([0-9A-Fa-f-]{36})"')  # where the rest of the item cannot be read


def _uuid_or_none(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
