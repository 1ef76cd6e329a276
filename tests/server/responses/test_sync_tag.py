"""The ETag of sync: where the content differs, the tag differs; where nothing changed, one statement says so."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ema_server.common import clock
from ema_server.messages.models import Message
from ema_server.messages.services import send_message
from ema_server.participants.models import Consent, Device, Participant, Pause
from ema_server.participants.services import revoke_device
from ema_server.responses import sync, sync_tag
from ema_server.responses.models import Submission
from ema_server.sampling.models import Decision, Prompt, PromptEvent
from ema_server.studies.models import Study
from ema_server.studies.services import (
    publish_consent_text,
    publish_crisis_card,
    publish_sampling_plan,
    publish_survey,
)
from tests.world import MONDAY, NOW, SAMPLING, SURVEY, FakePhone, live_study

pytestmark = pytest.mark.django_db

BEGAN = datetime.combine(MONDAY, time(8), UTC)
PLAN: dict[str, Any] = {
    "rules": [
        {**SAMPLING["rules"][0], "reminders": [10]},
        {"key": "button", "questionnaire": "event", "event": True},
        {"key": "after", "questionnaire": "evening", "open_minutes": 30,
         "after": {"questionnaire": "momentary", "minutes": 20}},
        {"key": "leaving", "questionnaire": "evening", "open_minutes": 600, "once": "withdrawal"},
    ]
}  # fmt: skip


@dataclass
class World:
    """One phone's world, changed at random. `now` is the server's clock."""

    phone: FakePhone
    rng: random.Random
    now: datetime = BEGAN
    seen: dict[str, bytes] = field(default_factory=dict)
    last: tuple[str, bytes] = ("", b"")
    needless: int = 0

    @property
    def study(self) -> Study:
        return Study.objects.get(pk=self.phone.study.pk)

    @property
    def person(self) -> Participant:
        return Participant.objects.get(study=self.study, pseudonym="P1")

    @property
    def device(self) -> Device:
        return Device.objects.select_related("participant__study").get(participant=self.person)

    def prompt(self, **facts: Any) -> Prompt:
        near = Prompt.objects.filter(participant=self.person, scheduled_at__lte=self.now + timedelta(days=16), **facts)
        return self.rng.choice(list(near.order_by("pk")))

    def edit(self, **values: list[Any]) -> None:
        """Another value of one column of one waiting prompt."""
        name = self.rng.choice(sorted(values))
        Prompt.objects.filter(pk=self.prompt().pk).update(**{name: self.rng.choice(values[name])})

    def event(self, kind: str) -> None:
        PromptEvent.objects.create(study=self.study, prompt=self.prompt(), kind=kind, received_at=self.now)

    def look(self) -> None:
        """Tag and content now, held against all that were seen before."""
        tag = sync_tag.tag_of(self.device, now=self.now)
        assert tag is not None
        content = msgspec.json.encode(sync.sync_content(self.device, now=self.now))
        assert self.seen.setdefault(tag, content) == content, "other content under a tag that was seen"
        self.needless += tag != self.last[0] and content == self.last[1]
        self.last = tag, content


def _answer(w: World) -> None:
    prompt = w.prompt()
    Submission.objects.create(
        study=w.study, participant=w.person, device=w.device, client_id=uuid4(), digest="x", prompt=prompt, payload={},
        survey_version=w.study.survey_versions.filter(questionnaire="momentary")[0], received_at=w.now,
    )  # fmt: skip


def _decide(w: World) -> None:
    prompt, option = w.prompt(), w.rng.choice(["a", "b"])
    if not Decision.objects.filter(prompt=prompt).exists():
        Decision.objects.create(prompt=prompt, options={"a": 0.5, "b": 0.5}, draw=0.3, option=option, made_at=w.now)


def _new_prompt(w: World) -> None:
    prompt = w.prompt()
    prompt.pk, prompt.slot = uuid4(), w.rng.randrange(1_000, 30_000)
    prompt.save(force_insert=True)


def _drop_prompt(w: World) -> None:
    prompt = w.prompt()
    if not prompt.events.exists() and not Decision.objects.filter(prompt=prompt).exists():
        Prompt.objects.filter(pk=prompt.pk, submission__isnull=True).delete()


def _pause(w: World) -> None:
    Pause.objects.filter(participant=w.person, until=None).update(until=w.now)
    if w.rng.random() < 0.7:
        until = w.rng.choice([None, w.now + timedelta(hours=w.rng.randrange(1, 60))])
        Pause.objects.create(participant=w.person, since=w.now, until=until)


def _message(w: World) -> None:
    if w.person.state in ("active", "paused"):
        expires = w.rng.choice([None, w.now + timedelta(hours=w.rng.randrange(1, 90))])
        send_message(
            study=w.study, to=["P1"], text=f"Hi {w.rng.random()}", now=w.now, actor="user:1", expires_at=expires
        )


def _take_back(w: World) -> None:
    if message := Message.objects.filter(participant=w.person).order_by("?").first():
        Message.objects.filter(pk=message.pk).update(taken_back_at=w.now)


def _study(w: World) -> None:
    state = w.rng.choice(["draft", "live", "live", "paused", "ended", "locked"])
    quiet = w.now if state in ("paused", "ended") else None
    Study.objects.filter(pk=w.study.pk).update(state=state, quiet_since=quiet)


def _publish(w: World) -> None:
    Study.objects.filter(pk=w.study.pk).update(state="live")
    title, which = f"T{w.rng.random()}", w.rng.randrange(5)
    if which == 0:
        alerts = [{"key": "low", "when": f"stress > {w.rng.randrange(90)}", "card": "crisis"}]
        publish_survey(study=w.study, questionnaire="momentary", document={**SURVEY, "title": title, "alerts": alerts})
    elif which == 1:
        travel = w.rng.choice(["at_once", "next_day", "home"])
        publish_sampling_plan(study=w.study, document={**PLAN, "travel": travel})
    elif which == 2:
        publish_consent_text(study=w.study, texts={"en": title}, actor="user:1", must_consent_anew=w.rng.random() < 0.5)
    elif which == 3:
        publish_crisis_card(study=w.study, card={"en": {"title": title, "text": "Call."}}, actor="user:1")
    elif text := w.study.consent_texts.order_by("?").first():
        Consent.objects.create(
            participant=w.person, version=text.version, digest=text.digest, given_at=w.now, received_at=w.now
        )


def _person(w: World) -> None:
    values = {
        "state": ["active", "active", "paused", "withdrawn"],
        "zone": ["Europe/Amsterdam", "Europe/London"],
        "arm": ["", "a"],
        "last_day": [MONDAY + timedelta(days=n) for n in (4, 6, 9)],
        "first_day": [MONDAY, MONDAY + timedelta(days=1)],
        "schedule": [{}, {"waking": {"every": ["08:00", "20:00"]}}],
    }
    name = w.rng.choice(sorted(values))
    Participant.objects.filter(pk=w.person.pk).update(**{name: w.rng.choice(values[name])})


def _time(w: World) -> None:
    w.now += timedelta(minutes=w.rng.choice([1, 45, 200, 1_000]))


MUTATIONS: list[Callable[[World], None]] = [
    _time, _time, _time, _answer, _decide, _new_prompt, _drop_prompt, _pause, _message, _take_back, _study, _publish, _publish,
    _person, _person,
    lambda w: w.event(w.rng.choice(["delivered", "shown", "completed", "expired"])),
    lambda w: w.event(w.rng.choice(["cancelled", "restored", "cancelled"])),
    lambda w: w.edit(
        scheduled_at=[w.now + timedelta(hours=n) for n in (-3, 1, 30, 330, 340)],
        expires_at=[w.now + timedelta(hours=n) for n in (350, 360)],
        questionnaire=["momentary", "evening", "gone"], grace_minutes=[0, 5, 10], practice=[True, False],
        wave=["", "w1"], zone=["UTC", "Europe/London"], local_time=[time(9), time(9, 1)], local_date=[MONDAY],
        day=[40, 41], rule=["momentary", "leaving"],
    ),
]  # fmt: skip


@pytest.fixture
def phone() -> FakePhone:
    study = live_study()
    for name in ("event", "evening"):
        publish_survey(study=study, questionnaire=name, document=SURVEY)
    publish_sampling_plan(study=study, document=PLAN)
    publish_crisis_card(study=study, card={"en": {"title": "Help", "text": "Call."}}, actor="user:1")
    return FakePhone(study).enrolled()


@pytest.mark.parametrize("seed", range(3))
def test_where_the_content_differs_the_tag_differs(phone: FakePhone, seed: int) -> None:
    FakePhone(phone.study, pseudonym="P2").enrolled()
    world = World(phone, random.Random(seed))
    world.look()
    for _ in range(100):
        world.rng.choice(MUTATIONS)(world)
        world.look()
    assert len(set(world.seen.values())) > 25, "a world in which little changes proves little"


def test_the_tag_stays_while_nothing_happens_to_this_person(phone: FakePhone) -> None:
    world = World(phone, random.Random(1), now=BEGAN + timedelta(days=2))
    world.look()
    other = FakePhone(phone.study, pseudonym="P2").enrolled()
    other.submit(other.item())
    phone.report(0, "delivered")
    send_message(study=world.study, to=["P2"], text="Not for P1", now=world.now, actor="user:1")
    world.now += timedelta(hours=1)
    world.look()
    assert len(world.seen) == 1


def test_the_statement_covers_every_table_that_the_content_is_made_of(phone: FakePhone) -> None:
    world = World(phone, random.Random(1))
    _message(world)
    publish_consent_text(study=world.study, texts={"en": "I agree."}, actor="user:1")
    Participant.objects.filter(pk=world.person.pk).update(state="paused")
    device = world.device
    with CaptureQueriesContext(
        connection,
    ) as asked:
        sync.sync_content(device, now=world.now)
    read = {name for query in asked for name in re.findall(r'(?:FROM|JOIN) "(\w+)"', query["sql"])}
    covered = set(re.findall(r"(?:FROM|JOIN) (\w+_\w+) ", sync_tag._STATEMENT.replace("\n", " \n")))
    assert read <= covered, read - covered
    assert covered - read <= {"participants_device", "participants_participant", "studies_study"}


def call(phone: FakePhone, tag: str | None = None, **headers: str) -> Any:
    return phone.call("GET", "sync", **({"If-None-Match": tag} if tag else {}), **headers)


def test_an_unchanged_phone_costs_one_statement(phone: FakePhone, settings: Any) -> None:
    first = call(phone)
    with CaptureQueriesContext(connection) as asked:
        again = call(phone, first["ETag"])
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    assert [query["sql"] for query in asked] == [], "Django's cursor is not used; the one statement goes past it"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("{tag}", 304), ("W/{tag}", 304), ('"a", {tag}', 304), ('W/"a",  W/{tag} , "b"', 304), ("*", 304), (" * ", 304),
        ('"a"', 200), ('"a", "b"', 200), ("nonsense", 200), ("", 200), ('"*"', 200), ("\x00", 200),
    ],
)  # fmt: skip
def test_if_none_match_is_read_as_the_rfc_says(phone: FakePhone, given: str, status: int) -> None:
    tag = call(phone)["ETag"]
    assert call(phone, given.replace("{tag}", tag)).status_code == status


def test_a_head_request_has_the_tag_and_no_body(phone: FakePhone) -> None:
    answer = phone.call("HEAD", "sync")
    assert (answer.status_code, answer.content, answer["ETag"]) == (200, b"", call(phone)["ETag"])
    assert phone.call("HEAD", "sync", **{"If-None-Match": answer["ETag"]}).status_code == 304


def test_an_odd_form_of_asking_gets_the_same(phone: FakePhone) -> None:
    first = call(phone)
    assert call(phone, Accept="application/*").headers["ETag"] == first["ETag"]
    assert call(phone, first["ETag"], Accept="application/*").status_code == 304
    assert call(phone, Accept="text/html").json()["code"] == "not_acceptable"
    assert phone.call("POST", "sync", {}).json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("tag", [None, "*", '"a"'])
def test_a_tag_opens_no_door(phone: FakePhone, tag: str | None) -> None:
    """Whatever tag is sent, whoever may not call hears the same."""
    kept, phone.token = phone.token, ""
    assert call(phone, tag).json()["code"] == "not_authenticated"
    phone.token = "x" * 43
    assert call(phone, tag).json()["code"] == "unknown_credential"
    assert call(phone, tag, Authorization="Bearer a b").json()["code"] == "malformed_credential"
    phone.token = kept
    revoke_device(device=Device.objects.get(participant__pseudonym="P1"), actor="user:1", reason="lost", now=NOW)
    answer = call(phone, tag)
    assert (answer.status_code, answer.json()["code"]) == (401, "revoked")
    assert answer["WWW-Authenticate"] == 'Bearer realm="phone"'


def test_a_phone_whose_person_is_erased_while_it_calls_is_unknown(
    phone: FakePhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_tag, "prepared_row", lambda statement, values: None)
    answer = call(phone)
    assert (answer.status_code, answer.json()["code"]) == (401, "unknown_credential")


def test_the_first_use_of_a_new_credential_is_seen_although_nothing_is_new(phone: FakePhone) -> None:
    tag, old = call(phone)["ETag"], phone.token
    phone.token = phone.call("POST", "device/credential").json()["token"]
    assert call(phone, tag).status_code == 304
    device = Device.objects.get(participant__pseudonym="P1")
    assert device.old_token_until is not None
    phone.token = old
    assert call(phone, tag).status_code == 304, "the old one is good for a while"


def test_alert_rules_and_the_crisis_card_travel_with_sync(phone: FakePhone) -> None:
    alerts = [{"key": "high", "when": "stress > 90", "card": "crisis"}, {"key": "low", "when": "support < 3"}]
    publish_survey(study=phone.study, questionnaire="momentary", document={**SURVEY, "alerts": alerts})
    card = {"en": {"title": "Help", "text": "Now.", "contacts": [{"label": "Line", "phone": "113"}]}}
    publish_crisis_card(study=phone.study, card=card, actor="user:1")
    told = call(phone).json()
    common = {"questionnaire": "momentary", "survey_version": 2}
    assert told["alert_rules"] == [
        {**common, "key": "high", "when": "stress > 90", "card": "crisis"},
        {**common, "key": "low", "when": "support < 3", "card": None},
    ]
    assert told["crisis_card"] == {"version": 2, "pages": card}


def test_who_left_is_told_what_is_asked_on_leaving_and_of_the_card(phone: FakePhone) -> None:
    assert len(call(phone).json()["prompts"]) > 5
    answer = phone.call("POST", "withdraw", {"data": "keep"})
    assert answer.status_code == 200, answer.content
    told = call(phone).json()
    assert {prompt["questionnaire"] for prompt in told["prompts"]} == {"evening"}
    assert told["surveys"]
    assert told["crisis_card"]
    assert (told["events"], told["follow_ups"]) == ([], [])
    assert clock.now() >= NOW
