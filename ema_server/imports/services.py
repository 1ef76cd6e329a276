"""Storing a finished study: all of it or nothing, as ordinary rows, so that everything else works on it as on any study."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from django.db import connection, transaction
from django_scopes import scope

from ema_server.accounts.models import User
from ema_server.common.canonical import canonical_json, rfc8785
from ema_server.common.errors import DomainError
from ema_server.common.phone_time import believable_span
from ema_server.imports.findings import Findings
from ema_server.imports.guesses import DECIMAL, name_for
from ema_server.imports.judging import Counts, Placed, Plan, judge
from ema_server.imports.maps import Map
from ema_server.imports.models import FinishedStudyImport
from ema_server.imports.times import EPOCH, MINUTE
from ema_server.ledger import audit
from ema_server.participants.models import Device, Participant
from ema_server.participants.person_data import import_person_table
from ema_server.participants.person_table import NAME
from ema_server.participants.services import digest_of_secret
from ema_server.reports.plans import publish_plan
from ema_server.responses.content import split
from ema_server.responses.models import Submission
from ema_server.studies.models import SamplingPlan, Study, SurveyVersion
from ema_server.studies.services import create_study, lock_data, publish_sampling_plan, publish_survey
from ema_server.surveys.kinds import LARGEST
from ema_server.vault.fields import Seal
from ema_server.vault.router import KEYS
from ema_server.vault.sealing import keyed_digest
from ema_server.vault.services import check_store, discard_keys, holding_keys, make_keys, owner_key, server_key

CHUNK = 10_000  # rows between two writes; each holds some kilobytes in memory
NULL = "\\N"
NOT_TOLD = "not in the file"
LONGEST_TEXT = 40  # of a phone's time as it was written

_PROMPTS = (
    "COPY sampling_prompt (id, study_id, participant_id, plan_id, rule, questionnaire, day, slot, scheduled_at, expires_at, "
    "local_date, local_time, utc_offset_minutes, zone, practice, wave) FROM STDIN"
)
_EVENTS = (
    "COPY sampling_promptevent (study_id, prompt_id, device_id, client_id, kind, reason, phone_at, phone_text, received_at) "
    "FROM STDIN"
)
_SUBMISSIONS = (
    "COPY responses_submission (study_id, participant_id, device_id, client_id, digest, survey_version_id, prompt_id, payload, "
    "sealed, complete, answered_at, utc_offset_minutes, received_at) FROM STDIN"
)


class Unplaced(DomainError):
    """The file holds something that has no place, and nobody said that it may be left out."""

    code = "unplaced"
    status = 400

    def __init__(self, detail: str, counts: Counts) -> None:
        super().__init__(detail)
        self.counts = counts


class FileChanged(DomainError):
    code = "file_changed"


@dataclass(frozen=True)
class Facts:
    """What the study is to be called, and where its data come from."""

    slug: str
    title: str
    zone: str
    source: str
    description: str = ""
    format: str = "long"
    plan: Mapping[str, Any] | None = None


def import_finished_study(
    *,
    facts: Facts,
    plan: Plan,
    findings: Findings,
    owner: User,
    actor: str,
    now: datetime,
    each: Callable[[int], None] = lambda rows: None,
) -> tuple[Study, Counts]:
    """Store a finished study and lock its data. Whatever goes wrong on the way, nothing of it stays, no key either."""
    check_store()
    keys: list[UUID] = []
    try:
        # The keys are committed first: a key without rows is a key too many, rows without their keys are lost.
        with holding_keys(), transaction.atomic(), transaction.atomic(using=KEYS):
            return _import(facts, plan, findings, owner, actor, now, each, keys)
    except BaseException:
        discard_keys(owners=keys)
        raise


def _import(
    facts: Facts,
    plan: Plan,
    findings: Findings,
    owner: User,
    actor: str,
    now: datetime,
    each: Callable[[int], None],
    keys: list[UUID],
) -> tuple[Study, Counts]:
    digest = plan.table.digest()
    first, last = plan.learned.days
    study = create_study(
        owner=owner,
        actor=actor,
        slug=facts.slug,
        title=facts.title,
        description=facts.description,
        source=facts.source,
        zone=facts.zone,
        starts_on=first,
        ends_on=last,
        state=Study.State.ENDED,
    )
    with scope(study=study):
        versions = [
            publish_survey(study=study, questionnaire=form.name, document=dict(form.document), actor=actor)
            for form in plan.forms
        ]
        sampling = publish_sampling_plan(study=study, document=_sampling(plan), actor=actor)
        people = _people(study, plan, now)
        keys += [person.key_id for person in people]
        make_keys(owners=keys)
        counts = Counts()
        rows = judge(plan, findings, counts, believable=_believable(first, now), each=each)
        _store(rows, plan, study, sampling, versions, people, now, findings)
        if findings.blocking:
            raise Unplaced("\n".join(f"{f.kind}, {f.column}: {f.places[0]}" for f in findings.blocking), counts)
        if plan.table.digest() != digest:
            raise FileChanged("The file was changed while it was imported. Nothing was stored; run it again.")
        _person_table(study, plan, people, actor)
        if facts.plan is not None:
            notes = [*facts.plan["notes"], *counts.cautions]
            publish_plan(study=study, document={**facts.plan, "notes": notes}, actor=actor)
        _keep_report(study, facts, plan, findings, counts, digest, actor)
        lock_data(study=study, now=now, actor=actor, reason="a finished study was imported")
    return study, counts


def _keep_report(
    study: Study, facts: Facts, plan: Plan, findings: Findings, counts: Counts, digest: str, actor: str
) -> FinishedStudyImport:
    row = FinishedStudyImport.objects.create(
        study=study,
        format=facts.format,
        files_digest=keyed_digest(digest.encode(), key=server_key("imported files")),
        report=import_report(plan, findings, counts),
    )
    audit.record(
        action="study.imported",
        actor=actor,
        study_id=study.pk,
        about=f"study:{study.pk}",
        changes={
            "rows": counts.rows, "left_out": counts.left_out, "people": plan.learned.people, "files": row.files_digest,
        },
    )  # fmt: skip
    return row


def import_report(plan: Plan, findings: Findings, counts: Counts) -> dict[str, Any]:
    """What is kept of an import, and what a dry run tells as JSON."""
    return {
        "rows": counts.rows,
        "left_out": counts.left_out,
        "states": dict(counts.states),
        "questionnaires": dict(counts.by_form),
        "answers": counts.answers,
        "reissued": counts.reissued,
        "answered_by_a_clock_that_cannot_be_believed": counts.undated,
        "said_to_be_answered_without_an_answer": counts.unheld,
        "people": plan.learned.people,
        "person_table": plan.person_table,
        "items": {
            form.name: {column.item.name: column.inferred or column.item.type for column in form.columns}
            for form in plan.forms
        },
        "notes": plan.notes,
        "unplaced": [{"kind": each.kind, "column": each.column, "count": each.count} for each in findings],
    }


def dry_run(
    *, plan: Plan, findings: Findings, now: datetime, each: Callable[[int], None] = lambda rows: None
) -> Counts:
    """Everything that an import does except storing."""
    counts = Counts()
    first, _ = plan.learned.days
    for _ in judge(plan, findings, counts, believable=_believable(first, now), each=each):
        pass
    return counts


def _sampling(plan: Plan) -> dict[str, Any]:
    """A plan that plans nothing: the prompts are those of the file."""
    fixed = plan.map.cells.get("open_minutes")
    minutes = fixed.value if fixed and fixed.value is not None else 1440
    learned = plan.learned
    rules = sorted({(form, wave) for form, wave in zip(learned.form, learned.wave, strict=True) if form >= 0})
    return {
        "schema": "ema-sampling/1",
        "imported": True,
        "note": "Prompts were imported with a finished study; none is planned by these rules.",
        "rules": [
            {
                "key": plan.rule(form, wave),
                "questionnaire": plan.forms[form].name,
                "open_minutes": minutes,
                "times": [],
            }
            for form, wave in rules
        ],
    }


@dataclass
class _Stay:
    """When somebody was in the study and where, from their rows."""

    first: int
    last: int
    zones: Counter[int] = field(default_factory=Counter)


def _people(study: Study, plan: Plan, now: datetime) -> list[Participant]:
    learned = plan.learned
    stays: dict[int, _Stay] = {}
    for nth, placed in enumerate(learned.placed):
        if placed:
            day = (learned.utc[nth] + learned.offset[nth] * MINUTE) // 86_400_000_000
            stay = stays.get(learned.person[nth])
            if stay is None:
                stay = stays[learned.person[nth]] = _Stay(day, day)
            stay.first, stay.last = min(stay.first, day), max(stay.last, day)
            stay.zones[learned.zone[nth]] += 1
    epoch = EPOCH.date()
    return Participant.objects.bulk_create(
        [
            Participant(
                study=study,
                pseudonym=person.pseudonym,
                state=Participant.State.ACTIVE,
                test_person=person.test_person,
                zone=learned.zones[stays[number].zones.most_common(1)[0][0]],
                first_day=epoch + timedelta(days=stays[number].first),
                last_day=epoch + timedelta(days=stays[number].last),
                enrolled_at=now,
            )
            for number, person in enumerate(learned.persons)
            if number in stays
        ],
        batch_size=1_000,
    )


def _person_table(study: Study, plan: Plan, people: list[Participant], actor: str) -> None:
    known = {person.pseudonym for person in people}
    names: dict[str, str] = {}
    for name in plan.person_table:
        names[name] = name if NAME.fullmatch(name) else name_for(name, names.values())
    rows = {
        person.pseudonym: {names[name]: _typed(person.facts.get(name, ""), plan.map) for name in plan.person_table}
        for person in plan.learned.persons
        if person.pseudonym in known and person.facts
    }
    if plan.person_table and rows:
        import_person_table(study=study, rows=rows, actor=actor)


def _typed(text: str, mapping: Map) -> str | float | None:
    """A cell of the person table as a number where it is one."""
    bare = text.strip()
    if not bare or bare in mapping.missing:
        return None
    if not DECIMAL[mapping.decimal].fullmatch(bare):
        return bare
    number = float(bare.replace(",", "."))
    return int(number) if number.is_integer() and abs(number) < LARGEST else number


def _believable(first: date, now: datetime) -> Callable[[int], bool]:
    """`common.phone_time.believable`, for moments in microseconds."""
    low, high = ((end - EPOCH) // timedelta(microseconds=1) for end in believable_span(study_start=first, now=now))
    return lambda moment: low <= moment <= high


# Storing


def _store(
    rows: Iterator[Placed],
    plan: Plan,
    study: Study,
    sampling: SamplingPlan,
    versions: list[SurveyVersion],
    people: list[Participant],
    now: datetime,
    findings: Findings,
) -> None:
    """Write the rows by COPY, some thousands at a time. Foreign keys are checked after each, so that the database
    remembers no more than these."""
    writer = _Writer(plan, study, sampling, versions, people, now)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:  # the next rows are read while the database stores these
        coming = pool.submit(copy_context().run, writer.chunk, rows, findings)
        while chunk := coming.result():
            coming = pool.submit(copy_context().run, writer.chunk, rows, findings)
            with connection.cursor() as cursor:
                for statement, lines in zip((_PROMPTS, _EVENTS, _SUBMISSIONS), chunk, strict=True):
                    if lines:
                        with cursor.copy(statement) as copy:
                            copy.write(lines)


class _Writer:
    """Rows as PostgreSQL's COPY reads them."""

    def __init__(
        self,
        plan: Plan,
        study: Study,
        sampling: SamplingPlan,
        versions: list[SurveyVersion],
        people: list[Participant],
        now: datetime,
    ) -> None:
        self.plan, self.study, self.sampling, self.versions = plan, study, sampling, versions
        self.prompts: list[str] = []
        self.events: list[str] = []
        self.submissions: list[str] = []
        by_name = {person.pseudonym: person for person in people}
        self.people = [by_name.get(person.pseudonym) for person in plan.learned.persons]
        devices = {device.participant_id: device.pk for device in _devices(people, now)}
        self.devices = [devices[person.pk] if person else 0 for person in self.people]
        self.keys = [owner_key(person.key_id, "answer digests") if person else b"" for person in self.people]
        self.names = hashlib.sha1(uuid5(NAMESPACE_URL, f"ema-server:import:{study.slug}").bytes)
        self.now = now.isoformat()
        self.encode = msgspec.json.Encoder(order="sorted").encode
        self.surveys = [form.survey for form in plan.forms]
        self.sealed = [any(item.sealed for item in survey.items) for survey in self.surveys]
        self.field = Submission._meta.get_field("sealed")

    def chunk(self, rows: Iterator[Placed], findings: Findings) -> tuple[str, str, str] | None:
        """The next rows, as the three tables take them; None after the last. Once something has no place nothing will stay:
        then the rest is only read, to name all that is wrong."""
        self.prompts, self.events, self.submissions = [], [], []
        for row in rows:
            if findings.stopped:
                continue
            self.take(row)
            if row.nth % CHUNK == CHUNK - 1:
                break
        else:
            if not (self.prompts or self.events or self.submissions):
                return None
        return "".join(self.prompts), "".join(self.events), "".join(self.submissions)

    def take(self, row: Placed) -> None:
        person = self.people[row.person]
        assert person is not None
        study, device, name = self.study.pk, self.devices[row.person], person.pseudonym
        what = f"{name}|{row.rule}|{row.day}|{row.slot}"
        prompt = self._uuid(f"prompt|{what}")
        questionnaire = self.plan.forms[row.form].name
        if not row.again:
            local = (EPOCH + timedelta(microseconds=row.scheduled + row.offset * MINUTE)).isoformat()
            self.prompts.append(
                f"{prompt}\t{study}\t{person.pk}\t{self.sampling.pk}\t{row.rule}\t{questionnaire}\t{row.day}\t{row.slot}\t"
                f"{_utc(row.scheduled)}\t{_utc(row.expires)}\t{local[:10]}\t{local[11:-6]}\t{row.offset}\t{row.zone}\t"
                f"{'t' if row.practice else 'f'}\t{_copied(row.wave)}\n"
            )
            again = ""
        else:
            again = f"|row {row.nth}"
        if row.delivered is not None:
            self._event(row, "delivered", row.delivered, prompt, f"{what}{again}", device)
        if row.again:
            self._event(row, "reissued", row.delivered or row.ended, prompt, f"{what}{again}", device)
        if row.state in {"expired", "cancelled"}:
            self._event(row, row.state, row.ended, prompt, f"{what}{again}", device)
        if row.answers is not None and (row.answers or row.complete):
            self._submission(row, person, prompt, questionnaire, f"answer|{what}{again}", device)

    def _event(
        self, row: Placed, kind: str, at: tuple[str, int, int] | None, prompt: str, what: str, device: int
    ) -> None:
        text, moment, offset = at or (
            NOT_TOLD,
            None,
            0,
        )  # without a text it would be the server that called a prompt off
        self.events.append(
            f"{self.study.pk}\t{prompt}\t{device}\t{self._uuid(f'{kind}|{what}')}\t{kind}\timported\t"
            f"{NULL if moment is None else _utc(moment)}\t{_copied(_stamp(text, moment, offset)[:LONGEST_TEXT])}\t{self.now}\n"
        )

    def _submission(
        self, row: Placed, person: Participant, prompt: str, questionnaire: str, what: str, device: int
    ) -> None:
        """The row as intake would have stored it from a phone."""
        client_id = self._uuid(what)
        moment, offset = (row.ended[1], row.ended[2]) if row.ended else (None, row.offset)
        payload: dict[str, Any] = {
            "client_id": client_id,
            "prompt": prompt,
            "questionnaire": questionnaire,
            "survey_version": self.versions[row.form].number,
            "answers": row.answers,
            "zone": row.zone,
            "complete": row.complete,
        }
        if row.ended:
            payload["answered_at"] = _stamp(*row.ended)
        if row.started:
            payload["started_at"] = row.started
        content = self.encode(payload) if row.whole else rfc8785(payload)
        sealed, shown = NULL, content
        if self.sealed[row.form]:
            open_part, hidden = split(payload, self.surveys[row.form])
            if hidden is not None:
                seal = Seal(person.key_id, self.study.pk, client_id)
                sealed = "\\\\x" + self.field.sealed(hidden, seal).hex()
                shown = canonical_json(open_part)
        self.submissions.append(
            f"{self.study.pk}\t{person.pk}\t{device}\t{client_id}\t{keyed_digest(content, key=self.keys[row.person])}\t"
            f"{self.versions[row.form].pk}\t{prompt}\t{_copied(shown.decode())}\t{sealed}\t{'t' if row.complete else 'f'}\t"
            f"{NULL if moment is None else _utc(moment)}\t{offset}\t{self.now}\n"
        )

    def _uuid(self, name: str) -> str:
        """uuid5 in the namespace of this import, without the standard library's detours."""
        found = self.names.copy()
        found.update(name.encode())
        raw = found.hexdigest()
        variant = "89ab"[int(raw[16], 16) & 3]
        return f"{raw[:8]}-{raw[8:12]}-5{raw[13:16]}-{variant}{raw[17:20]}-{raw[20:32]}"


def _devices(people: list[Participant], now: datetime) -> list[Device]:
    """One credential for each person that nobody holds: their answers came from a file."""
    return Device.objects.bulk_create(
        [
            Device(
                participant=person,
                token_digest=digest_of_secret(secrets.token_urlsafe(32)),
                platform="import",
                zone=person.zone,
                created_at=now,
                revoked_at=now,
            )
            for person in people
        ],
        batch_size=1_000,
    )


def _utc(moment: int) -> str:
    return (EPOCH + timedelta(microseconds=moment)).isoformat()


def _stamp(text: str, moment: int | None, offset: int) -> str:
    """A time as a phone writes it, with its offset; one that cannot be believed stays as it was written."""
    if moment is None:
        return text
    wall = (EPOCH + timedelta(microseconds=moment + offset * MINUTE)).isoformat()[:-6]
    return f"{wall}{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"


def _copied(text: str) -> str:
    """A text as COPY reads it."""
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r") if not text.isprintable() else text
