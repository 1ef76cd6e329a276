"""A model of the intake as a dictionary, and a machine that does to both what phones and study teams do, in any order.

What is modelled: people of two studies with one phone or several in turn, revoked and replaced phones, people who withdrew
or paused, versions of a questionnaire that are published meanwhile, prompts that move to another zone, and batches of answers
and events that are new, repeated, changed, in another order, somebody else's or wrong. After each step the receipts are the
model's, and so is every row of the database.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ema_server.participants.models import Device, EnrolmentCode, Participant
from ema_server.participants.services import CODE_LIFETIME, digest_of_code, revoke_device
from ema_server.responses import fast_intake
from ema_server.responses.content import merge
from ema_server.responses.models import Conflict, Quarantined, Submission, Upload
from ema_server.sampling.models import PromptEvent
from ema_server.sampling.services import withdraw_participant
from ema_server.studies.models import Study
from ema_server.studies.services import publish_survey
from ema_server.vault.services import holding_keys
from tests.world import NOW, SURVEY, FakePhone, live_study

IDS = [UUID(int=n, version=4) for n in range(1, 6)]
EVENT_IDS = [UUID(int=100 + n, version=4) for n in range(3)]
ZONES = ["Europe/Amsterdam", "Asia/Tokyo", "America/New_York"]
MOST_PHONES, MOST_VERSIONS = 8, 4
STEPS = Counter[str]()  # what all machines of this process have done

FAULTS: dict[str, dict[str, Any]] = {
    "invalid_answer": {"answers": {"support": 140, "stress": 1}},
    "unknown_survey_version": {"survey_version": 99},
    "malformed_time": {"answered_at": "2026-03-02T10:05:00"},
    "malformed": {"answers": {"support": 1, "stress": 1, "note": "\0"}},
}


def survey(number: int) -> dict[str, Any]:
    """The version of this number asks for one more item than the one before."""
    more = [{"name": f"item{n}", "type": "yesno", "text": "?"} for n in range(2, number + 1)]
    note = {"name": "note", "type": "text", "text": "Anything else?", "required": False}
    return {**SURVEY, "items": [*SURVEY["items"], note, *more]}


@dataclass(frozen=True)
class Spec:
    """An item as it is drawn: a few ids and contents, so that they meet often."""

    id: int
    content: int
    version: int
    prompt: str
    fault: str
    spelling: int


@dataclass(frozen=True)
class EventSpec:
    id: int
    prompt: int
    kind: str
    whose: str


specs = st.builds(
    Spec,
    id=st.integers(0, len(IDS) - 1),
    content=st.integers(0, 2),
    version=st.integers(0, 1),
    prompt=st.sampled_from(["own", "own", "none", "unknown", "of another", "of another study"]),
    fault=st.sampled_from(["", "", "", "", "", *FAULTS]),
    spelling=st.integers(0, 1),
)
batches = st.lists(specs, min_size=1, max_size=5)
event_batches = st.lists(
    st.builds(
        EventSpec,
        id=st.integers(0, len(EVENT_IDS) - 1),
        prompt=st.integers(0, 1),
        kind=st.sampled_from(["delivered", "opened", "sent"]),
        whose=st.sampled_from(["own", "own", "own", "of another"]),
    ),
    min_size=1,
    max_size=4,
)
some = st.integers(0, 1000)  # which of several there are, counted round


@dataclass(eq=False)
class Person:
    """As the model knows somebody."""

    study: Study
    pk: int
    prompts: list[str]
    state: str = "active"


@dataclass(eq=False)
class Phone:
    person: Person
    pk: int
    calls: FakePhone
    closed: str = ""  # revoked | replaced


@dataclass
class Model:
    """What the database must hold, as dictionaries."""

    people: list[Person] = field(default_factory=list)
    phones: list[Phone] = field(default_factory=list)
    versions: dict[int, int] = field(default_factory=dict)  # by study
    held: dict[tuple[int, str], tuple[Person, Phone, str, str | None]] = field(default_factory=dict)
    conflicts: dict[tuple[int, str], set[str]] = field(default_factory=dict)
    quarantined: dict[tuple[int, bytes], str] = field(default_factory=dict)
    uploads: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    events: dict[tuple[int, str], tuple[str, str]] = field(default_factory=dict)

    def receive(self, phone: Phone, raw: bytes, item: dict[str, Any], fault: str) -> tuple[str, str]:
        """The receipt of one item, and what becomes of it."""
        person, name, content = phone.person, item["client_id"], canonical(item)
        at = person.study.pk, name
        held = self.held.get(at)
        status, code = "stored", ""
        if held is not None and held[0] is person and held[2] == content:
            return "duplicate", ""
        if phone.closed:
            status, code = "rejected", f"device_{phone.closed}"
        elif fault:
            status, code = "rejected", fault
        elif person.state == "withdrawn":
            status, code = "rejected", "withdrawn"
        elif held is not None and held[0] is not person:
            status, code = "rejected", "client_id_taken"
        elif held is not None:
            status, code = "conflict", "other_content"
            self.conflicts.setdefault(at, set()).add(content)
        else:
            prompt = item["prompt"] if item["prompt"] in person.prompts else None
            self.held[at] = person, phone, content, prompt
        if status == "rejected":
            self.quarantined.setdefault((phone.pk, raw), code)
        return status, code

    def receive_event(self, phone: Phone, event: dict[str, Any]) -> tuple[str, str]:
        at, content = (phone.person.study.pk, event["id"]), (event["prompt"], event["kind"])
        mine = event["prompt"] in phone.person.prompts
        if mine and self.events.get(at) == content:
            return "duplicate", ""
        if event["kind"] == "sent":  # a kind of the server's own
            return "rejected", "unknown_kind"
        if not mine:
            return "rejected", "unknown_prompt"
        if at in self.events:
            return "rejected", "id_taken"
        self.events[at] = content
        return "stored", ""


def canonical(content: Any) -> str:
    return json.dumps(content, sort_keys=True)


@dataclass
class World:
    """Where every example begins: two studies, two people in the first and one in the second, a phone for each."""

    studies: list[Study]
    phones: list[FakePhone]

    @classmethod
    def made(cls) -> World:
        studies = [live_study(survey=survey(1)) for _ in range(2)]
        phones = [FakePhone(studies[n], pseudonym=name).enrolled() for n, name in ((0, "P1"), (0, "P2"), (1, "P1"))]
        return cls(studies, phones)


class IntakeMachine(RuleBasedStateMachine):
    """Each example runs in a transaction of its own, which is undone at its end."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self._open: list[tuple[str, AbstractContextManager[Any]]] = []
        for database in ("default", "keys"):
            atomic = transaction.atomic(using=database)
            atomic.__enter__()
            self._open.append((database, atomic))
        self.model = Model()
        self.digests: dict[tuple[int, str], str] = {}
        self.refused: dict[tuple[int, bytes], str] = {}  # what is in quarantine, and the id that it bears
        self.sent: list[tuple[Phone, list[tuple[bytes, dict[str, Any], str]]]] = []

    def teardown(self) -> None:
        for database, atomic in reversed(self._open):
            transaction.set_rollback(True, using=database)
            atomic.__exit__(None, None, None)

    @initialize()
    def begin(self) -> None:
        assert not Submission.objects.exists(), "an example before this one left something behind"
        fast_intake._callers.clear()  # what a process remembers is of rows that are no more
        fast_intake._studies.clear()
        for study in self.world.studies:
            self.model.versions[study.pk] = 1
        for phone in self.world.phones:
            person = phone.study.participants.get(pseudonym=phone.pseudonym)
            self._add_phone(phone, self._add_person(phone.study, person))

    # What study teams and people do

    @precondition(lambda self: len(self.model.phones) < MOST_PHONES)
    @rule(which=some)
    def enrol_a_new_phone(self, which: int) -> None:
        """It keeps the identity, and closes the credential that the person had."""
        STEPS["new phone"] += 1
        person = self._pick(self.model.people, which)
        code = f"NEWPHONE{EnrolmentCode.objects.count()}"
        EnrolmentCode.objects.create(
            study=person.study, participant_id=person.pk, digest=digest_of_code(code), expires_at=NOW + CODE_LIFETIME
        )
        calls = FakePhone(person.study)
        answer = calls.call("POST", "enrolments", calls.enrolment(code))
        if person.state == "withdrawn":
            assert (answer.status_code, answer.json()["code"]) == (409, "study_closed")
            return
        assert answer.status_code == 201, answer.content
        calls.token = answer.json()["token"]
        for phone in self.model.phones:
            if phone.person is person and not phone.closed:
                phone.closed = "replaced"
        self._add_phone(calls, person)

    @precondition(lambda self: len(self.model.people) > 2)
    @rule(which=some)
    def revoke_a_phone(self, which: int) -> None:
        STEPS["revoke"] += 1
        phone = self._pick(self.model.phones, which)
        revoke_device(device=Device.objects.get(pk=phone.pk), actor="user:1", reason="lost", now=NOW)
        phone.closed = phone.closed or "revoked"

    @rule(which=some, really=st.integers(0, 3))
    def withdraw_a_person(self, which: int, really: int) -> None:
        person = self._pick(self.model.people, which)
        if really or person.state == "withdrawn":
            return  # seldom: of somebody who left nothing more is stored
        STEPS["withdraw"] += 1
        withdraw_participant(participant=Participant.objects.get(pk=person.pk), now=NOW, actor="user:1")
        person.state = "withdrawn"

    @rule(which=some)
    def pause_or_resume(self, which: int) -> None:
        """Answers of a pause are stored as ever."""
        phone = self._pick(self.model.phones, which)
        if phone.person.state == "withdrawn":
            return
        STEPS["pause"] += 1
        path = "resume" if phone.person.state == "paused" else "pause"
        answer = phone.calls.call("POST", path, {})
        if not self._is_closed(phone, answer):
            assert answer.status_code == 200, answer.content
            phone.person.state = "active" if path == "resume" else "paused"

    @precondition(lambda self: min(self.model.versions.values()) < MOST_VERSIONS)
    @rule()
    def publish_a_version(self) -> None:
        """In the study that has fewer."""
        STEPS["version"] += 1
        study = min(self.world.studies, key=lambda each: self.model.versions[each.pk])
        self.model.versions[study.pk] += 1
        publish_survey(study=study, questionnaire="momentary", document=survey(self.model.versions[study.pk]))

    @rule(which=some, zone=st.sampled_from(ZONES))
    def travel(self, which: int, zone: str) -> None:
        """Prompts move to the zone where the phone is; what answers them still does."""
        STEPS["travel"] += 1
        phone = self._pick(self.model.phones, which)
        answer = phone.calls.call("PUT", "device", {"zone": zone})
        if not self._is_closed(phone, answer):
            assert answer.status_code == 200, answer.content

    # What phones send

    @rule(which=some, batch=batches)
    def upload(self, which: int, batch: list[Spec]) -> None:
        STEPS["upload"] += 1
        phone = self._pick(self.model.phones, which)
        self._send(phone, [self._written(phone, spec) for spec in batch])

    @rule(which=some, batch=batches)
    def upload_something_else(self, which: int, batch: list[Spec]) -> None:
        """The same rule: what is done most often is to be drawn most often."""
        self.upload(which, batch)

    @precondition(lambda self: self.sent)
    @rule(which=some, data=st.data())
    def upload_again_in_another_order(self, which: int, data: st.DataObject) -> None:
        """The answer got lost, or another phone of the same backup sends what this one had."""
        STEPS["again"] += 1
        phone, parts = self._pick(self.sent, which)
        heirs = [each for each in self.model.phones if each.person is phone.person]
        self._send(data.draw(st.sampled_from(heirs)), data.draw(st.permutations(parts)))

    @rule(which=some, batch=event_batches)
    def report_events(self, which: int, batch: list[EventSpec]) -> None:
        STEPS["events"] += 1
        phone = self._pick(self.model.phones, which)
        other = next(each for each in self.model.people if each is not phone.person)
        events = [
            {
                "id": str(EVENT_IDS[spec.id]),
                "prompt": (phone.person if spec.whose == "own" else other).prompts[spec.prompt],
                "kind": spec.kind,
                "at": "2026-03-02T11:00:00+01:00",
            }
            for spec in batch
        ]
        answer = phone.calls.call("POST", "prompt-events", {"events": events})
        if self._is_closed(phone, answer):
            return
        expected = [self.model.receive_event(phone, event) for event in events]
        assert self._receipts(answer) == expected

    @rule(which=some, ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=4, unique=True))
    def ask_what_is_held(self, which: int, ids: list[UUID]) -> None:
        STEPS["manifest"] += 1
        phone = self._pick(self.model.phones, which)
        answer = phone.calls.call("POST", "manifest", {"submissions": [str(each) for each in ids]})
        if self._is_closed(phone, answer):
            return
        assert answer.status_code == 200, answer.content
        model, person = self.model, phone.person
        expected = {}
        for name in map(str, ids):
            at = person.study.pk, name
            refused = any(
                each.person is person and each.pk == pk and named == name
                for each in model.phones
                for (pk, _), named in self.refused.items()
            )
            if at in model.held and model.held[at][0] is person:
                expected[name] = "conflict" if model.conflicts.get(at) else "stored"
            else:
                expected[name] = "quarantined" if refused else "unknown"
        assert answer.json()["submissions"] == expected

    # What must hold after each step

    @invariant()
    def the_database_is_the_model(self) -> None:
        with holding_keys():
            self._compare()

    def _compare(self) -> None:
        model = self.model
        rows = Submission.objects.select_related("participant")
        found = {
            (row.study_id, str(row.client_id)): (
                row.participant_id,
                row.device_id,
                self._content(row.participant_id, row.digest, merge(row.payload, row.sealed)),
                row.prompt_id and str(row.prompt_id),
            )
            for row in rows
        }
        assert len(rows) == len(found)
        assert found == {
            at: (person.pk, phone.pk, content, prompt) for at, (person, phone, content, prompt) in model.held.items()
        }
        kept: dict[tuple[int, str], list[str]] = {}
        for row in Conflict.objects.select_related("submission__participant"):
            of = row.submission
            content = self._content(of.participant_id, row.digest, merge(row.payload, row.sealed))
            kept.setdefault((of.study_id, str(of.client_id)), []).append(content)
        assert {at: sorted(contents) for at, contents in kept.items()} == {
            at: sorted(contents) for at, contents in model.conflicts.items()
        }
        quarantine = Quarantined.objects.select_related("participant")
        assert {(row.device_id, row.body.encode()): row.code for row in quarantine} == model.quarantined
        assert len(quarantine) == len(model.quarantined)
        counts = "device_id", "stored", "duplicate", "conflict", "rejected"
        assert list(Upload.objects.order_by("pk").values_list(*counts)) == model.uploads
        events = PromptEvent.objects.filter(device__isnull=False)
        assert sorted((row.study_id, str(row.client_id), str(row.prompt_id), row.kind) for row in events) == sorted(
            (*at, *content) for at, content in model.events.items()
        )

    # How

    def _content(self, person: int, digest: str, content: dict[str, Any]) -> str:
        """As text; equal contents of a person have equal digests, and no others do."""
        text = canonical(content)
        assert self.digests.setdefault((person, text), digest) == digest
        assert len(set(self.digests.values())) == len(self.digests)
        return text

    def _send(self, phone: Phone, parts: list[tuple[bytes, dict[str, Any], str]]) -> None:
        body = b'{"items": [' + b", ".join(raw for raw, _, _ in parts) + b"]}"
        answer = phone.calls.call("POST", "submissions", raw=body)
        expected = [self.model.receive(phone, raw, item, fault) for raw, item, fault in parts]
        assert self._receipts(answer) == expected
        names = [each["client_id"] for each in answer.json()["receipts"]]
        assert names == [item["client_id"] for _, item, _ in parts]
        for (raw, item, _), (status, _) in zip(parts, expected, strict=True):
            if status == "rejected":
                self.refused[phone.pk, raw] = item["client_id"]
        counts = Counter(status for status, _ in expected)
        statuses = "stored", "duplicate", "conflict", "rejected"
        self.model.uploads.append((phone.pk, *(counts[status] for status in statuses)))  # type: ignore[arg-type]
        self.sent.append((phone, parts))

    def _written(self, phone: Phone, spec: Spec) -> tuple[bytes, dict[str, Any], str]:
        """The item as bytes and as content, and the fault that it has."""
        person = phone.person
        version = max(1, self.model.versions[person.study.pk] - spec.version)
        others = {
            "of another": next(each for each in self.model.people if each is not person and each.study == person.study)
            if person.study == self.world.studies[0]
            else person,
            "of another study": next(each for each in self.model.people if each.study != person.study),
        }
        prompt = {"own": person.prompts[spec.id], "none": None, "unknown": str(IDS[0])}
        answers = {"support": spec.content, "stress": 50, "note": f"content {spec.content}"}
        item = {
            "client_id": str(IDS[spec.id]),
            "prompt": prompt[spec.prompt] if spec.prompt in prompt else others[spec.prompt].prompts[spec.id],
            "questionnaire": "momentary",
            "survey_version": version,
            "answers": {**answers, **{f"item{n}": True for n in range(2, version + 1)}},
            "answered_at": "2026-03-02T11:00:00+01:00",
        }
        if spec.fault:
            item |= FAULTS[spec.fault]
        ordered = dict(reversed(item.items())) if spec.spelling else item
        return json.dumps(ordered).encode(), item, spec.fault

    def _add_person(self, study: Study, person: Participant) -> Person:
        prompts = [str(pk) for pk in person.prompts.order_by("day", "slot").values_list("pk", flat=True)]
        known = Person(study, person.pk, prompts)
        self.model.people.append(known)
        return known

    def _add_phone(self, calls: FakePhone, person: Person) -> None:
        newest = Device.objects.filter(participant_id=person.pk).latest("pk")
        self.model.phones.append(Phone(person, newest.pk, calls))

    @staticmethod
    def _is_closed(phone: Phone, answer: Any) -> bool:
        """Everywhere but at `POST submissions` a closed phone hears why it is closed, and nothing else."""
        if phone.closed:
            assert (answer.status_code, answer.json()["code"]) == (401, phone.closed)
        return bool(phone.closed)

    @staticmethod
    def _receipts(answer: Any) -> list[tuple[str, str]]:
        assert answer.status_code == 200, answer.content
        return [(each["status"], each.get("code", "")) for each in answer.json()["receipts"]]

    @staticmethod
    def _pick(several: Any, which: int) -> Any:
        return several[which % len(several)]
