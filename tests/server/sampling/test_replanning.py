"""Another plan or schedule for people who are in: told first, done once, taken back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ema_server.sampling import replanning
from ema_server.sampling.models import Prompt, PromptEvent, ScheduleChange
from ema_server.sampling.replanning import Effect
from tests.world import SAMPLING, FakePhone, live_study

pytestmark = pytest.mark.django_db
WEDNESDAY_NOON = datetime(2026, 3, 4, 12, tzinfo=ZoneInfo("Europe/Amsterdam"))
LATER = {"rules": [{**SAMPLING["rules"][0], "times": ["10:00", "13:00", "17:00"]}]}


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch) -> FakePhone:
    monkeypatch.setattr("ema_server.common.clock.now", lambda: WEDNESDAY_NOON)
    return FakePhone(live_study()).enrolled()


def times() -> dict[str, datetime]:
    return {str(pk): at for pk, at in Prompt.objects.values_list("pk", "scheduled_at")}


def publish(phone: FakePhone, document: dict[str, Any], based_on: int = 1) -> ScheduleChange:
    _, change = replanning.publish_plan(
        study=phone.study, document=document, based_on=based_on, effect=Effect.NEXT_DAY, reason="too early", actor="user:1",
        now=WEDNESDAY_NOON,
    )  # fmt: skip
    assert change is not None
    replanning.roll_out(change)
    change.refresh_from_db()
    return change


def test_a_new_plan_moves_what_lies_ahead_and_nothing_else_and_can_be_taken_back(phone: FakePhone) -> None:
    before = times()
    diff = replanning.preview_plan(study=phone.study, document=LATER, effect=Effect.NEXT_DAY, now=WEDNESDAY_NOON)
    assert diff.in_words() == (
        "Of the future prompts of 1 participant 4 move, 4 fall away; 0 past or answered prompts are touched (12 stay as they are)."
    )
    assert times() == before
    change = publish(phone, LATER)
    assert change.counts == diff.counts
    after = times()
    for pk, at in before.items():
        ahead = at.date() > WEDNESDAY_NOON.date()
        assert after[pk] - at == timedelta(hours=1 if ahead and at.hour == 15 else 0)
    assert PromptEvent.objects.filter(kind="cancelled", code="plan_changed").count() == 4
    undone = replanning.undo(change=change, reason="", actor="user:1", now=WEDNESDAY_NOON)
    replanning.roll_out(undone)
    assert times() == before
    assert PromptEvent.objects.filter(kind="restored").count() == 4
