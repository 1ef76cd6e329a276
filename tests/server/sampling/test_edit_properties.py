"""Random plans, random edits, answers in between: what holds whatever happens."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ema_server.common.errors import DomainError
from ema_server.participants.models import Participant
from ema_server.sampling.explaining import explain
from ema_server.sampling.models import Prompt, PromptEvent, ScheduleChange
from ema_server.sampling.person_edits import Schedule, change_schedule, preview_schedule
from ema_server.sampling.plan_edits import preview_plan, publish_plan, roll_out
from ema_server.sampling.undoing import undo
from ema_server.studies.queries import current_sampling_plan
from ema_server.studies.services import publish_sampling_plan
from tests.world import MONDAY, FakePhone, live_study

pytestmark = pytest.mark.django_db
GAP = 20
START = datetime(2026, 3, 2, 7, tzinfo=ZoneInfo("Europe/Amsterdam"))
ZONES = ("Europe/Amsterdam", "America/New_York", "Asia/Tokyo")
WHEN = (
    {"times": ["09:00", "12:00", "18:00"]},
    {"times": ["10:30"]},
    {"windows": [["09:00", "12:00"], ["14:00", "17:00"]]},
    {"random": {"count": 4}},
    {"random": {"count": 2, "from": "wake+60", "to": "sleep-60", "spread": "anywhere"}},
    {"every": {"minutes": 200, "jitter_minutes": 15}},
)
RULE = st.fixed_dictionaries(
    {"when": st.sampled_from(WHEN), "open_minutes": st.sampled_from([30, 60])},
    optional={"weekdays": st.sampled_from([[1, 2, 3], [4, 5, 6, 7]]), "days": st.sampled_from([[1, 3], [3, 7]])},
)
PLAN = st.lists(RULE, min_size=1, max_size=2)
HOURS = st.sampled_from([None, ["07:00", "23:30"], ["13:00", "03:00"], ["10:00", "20:00"]])
EDIT = st.one_of(
    st.tuples(st.just("plan"), PLAN),
    st.tuples(st.just("person"), st.tuples(st.integers(0, 2), HOURS, st.integers(3, 9))),
    st.tuples(st.just("answer"), st.integers(0, 5)),
)
STEP = st.tuples(EDIT, st.sampled_from(["next_day", "at_once"]), st.integers(0, 30), st.booleans())


def document(rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "gap_minutes": GAP,
        "rules": [
            {"key": f"r{place}", "questionnaire": "momentary", **rule.pop("when"), **rule}
            for place, rule in enumerate(map(dict, rules))
        ],
    }


def rows() -> dict[Any, dict[str, Any]]:
    return {row["id"]: row for row in Prompt.objects.values()}


def asked() -> dict[tuple[Any, ...], tuple[datetime, datetime, str]]:
    """What each person is asked, as long as nobody has taken it back."""
    off: dict[Any, bool] = {}
    for prompt, kind in PromptEvent.objects.order_by("pk").values_list("prompt_id", "kind"):
        if kind in ("cancelled", "restored"):
            off[prompt] = kind == "cancelled"
    return {
        (row["participant_id"], row["rule"], row["day"], row["slot"]): (
            row["scheduled_at"],
            row["expires_at"],
            row["zone"],
        )
        for pk, row in rows().items()
        if not off.get(pk)
    }


class World:
    """One study, some people in zones, and a clock."""

    def __init__(self, first: dict[str, Any]) -> None:
        self.now = START
        self.study = live_study()
        publish_sampling_plan(study=self.study, document=first)
        self.phones = [
            FakePhone(self.study, pseudonym=f"P{place}", zone=zone, last_day=MONDAY + timedelta(days=6)).enrolled()
            for place, zone in enumerate(ZONES)
        ]

    def answer(self, place: int) -> None:
        """Somebody answers a prompt of theirs that has come; it may have been moved since their phone last asked."""
        phone = self.phones[place % len(self.phones)]
        phone.prompts = phone.call("GET", "sync").json()["prompts"]
        for number, prompt in enumerate(phone.prompts):
            if datetime.fromisoformat(prompt["scheduled_at"]) <= self.now:
                phone.submit(phone.item(number))

    def edit(self, kind: str, what: Any, effect: str) -> tuple[ScheduleChange, Counter[str]] | None:
        """Make an edit after its preview; None where it is refused, and then nothing has changed."""
        common: dict[str, Any] = {"effect": effect, "now": self.now}
        told: dict[str, Any] = {"reason": "why not", "actor": "user:1", **common}
        before = rows(), PromptEvent.objects.count()
        try:
            with transaction.atomic():
                if kind == "plan":
                    there = current_sampling_plan(self.study)
                    assert there is not None
                    diff = preview_plan(study=self.study, document=document(what), **common)
                    _, change = publish_plan(study=self.study, document=document(what), based_on=there.number, **told)
                    if change is None:
                        return None
                    roll_out(change)
                else:
                    place, hours, days = what
                    person = Participant.objects.select_related("study").get(pseudonym=f"P{place}")
                    own = {"waking": {"every": hours}} if hours else {}
                    schedule = Schedule(person.first_day, MONDAY + timedelta(days=days), own)
                    last = ScheduleChange.objects.filter(participant=person).order_by("-number").first()
                    diff = preview_schedule(participant=person, schedule=schedule, **common)
                    change, _ = change_schedule(
                        participant=person, schedule=schedule, based_on=last.number if last else 0, **told
                    )
        except DomainError:
            assert (rows(), PromptEvent.objects.count()) == before
            return None
        change.refresh_from_db()
        return change, Counter(diff.counts)


@settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=PLAN, steps=st.lists(STEP, min_size=1, max_size=5))
def test_whatever_is_edited_the_past_stays_the_diff_is_true_and_undoing_brings_the_future_back(
    first: list[dict[str, Any]], steps: list[Any]
) -> None:
    with transaction.atomic():
        world = None
        with patch("ema_server.common.clock.now", lambda: world.now if world else START):
            try:
                world = World(document(first))
            except DomainError:
                transaction.set_rollback(True)
                return
            for (kind, what), effect, hours, take_back in steps:
                world.now += timedelta(hours=hours)
                if kind == "answer":
                    world.answer(what)
                else:
                    _holds(world, kind, what, effect, take_back=take_back)
            _each_is_derived_again(world.now)
        transaction.set_rollback(True)


def _each_is_derived_again(now: datetime) -> None:
    """Past, moved, called off and brought back: from what each prompt's drawing kept comes what the ledger holds."""
    for prompt in Prompt.objects.select_related("participant__study", "planning__plan"):
        found = explain(prompt, now=now)
        assert found.verdict == "same", found.why


def _holds(world: World, kind: str, what: Any, effect: str, *, take_back: bool) -> None:
    before, stood = rows(), asked()
    answered = set(Prompt.objects.filter(submission__isnull=False).values_list("pk", flat=True))
    events = list(PromptEvent.objects.order_by("pk").values())
    done = world.edit(kind, what, effect)
    if done is None:
        return
    change, told = done
    after = rows()
    for pk, row in before.items():
        assert pk in after, "no prompt goes"
        if row["scheduled_at"] < world.now or pk in answered:
            assert after[pk] == row, "what is past or answered stays"
    fresh = PromptEvent.objects.order_by("pk").exclude(pk__in=[event["id"] for event in events])
    assert list(PromptEvent.objects.order_by("pk").values())[: len(events)] == events, "the ledger only grows"
    touched = {event.prompt_id for event in fresh}
    assert not touched & {pk for pk, row in before.items() if row["scheduled_at"] < world.now or pk in answered}
    kinds = Counter(str(event.kind) for event in fresh)
    assert change.counts is not None
    assert {name: count for name, count in change.counts.items() if name != "people"} == dict(told)
    assert kinds["rescheduled"] == told["moved"] + told["altered"]
    assert kinds["restored"] == told["restored"]
    assert kinds["cancelled"] == told["called_off"] + told["too_close"]
    _gap_is_kept(stood, world.now)
    if take_back:
        undone = undo(change=change, reason="", actor="user:1", now=world.now)
        if undone.participant is None:
            roll_out(undone)
        assert asked() == stood, "undoing brings back exactly what was there"


def _gap_is_kept(stood: dict[tuple[Any, ...], Any], now: datetime) -> None:
    """Of any two prompts of one person that are asked, unless both were there before."""
    by_person: dict[int, list[tuple[datetime, bool]]] = {}
    for key, (opens, *_) in asked().items():
        old = key in stood and stood[key][0] == opens
        by_person.setdefault(key[0], []).append((opens, old))
    for moments in by_person.values():
        for (one, was), (other, too) in itertools.pairwise(sorted(moments)):
            assert other - one >= timedelta(minutes=GAP) or (was and too), f"{one} and {other} after {now}"
