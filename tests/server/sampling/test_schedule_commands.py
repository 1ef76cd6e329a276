"""The commands about plans and schedules: what they show, what they do, what they refuse."""

from __future__ import annotations

import json
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command

from ema_server.participants.models import Participant
from ema_server.sampling.models import Prompt, ScheduleChange
from tests.world import SAMPLING, FakePhone, live_study

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 4, 12, tzinfo=ZoneInfo("Europe/Amsterdam"))
EVENINGS = {"waves": [{"key": "w", "days": [1, 3]}], "rules": [{**SAMPLING["rules"][0], "times": ["20:00"]}]}


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch) -> FakePhone:
    monkeypatch.setattr("ema_server.common.clock.now", lambda: NOON)
    return FakePhone(live_study(slug="evenings")).enrolled()


def call(name: str, *args: object, **options: Any) -> str:
    told = StringIO()
    call_command(name, *map(str, args), stdout=told, **options)
    return told.getvalue()


def test_a_plan_is_shown_then_published_then_listed_then_taken_back(phone: FakePhone, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(EVENINGS))
    before = list(Prompt.objects.order_by("pk").values_list("scheduled_at", flat=True))
    told = call("publish_sampling_plan", "evenings", file)
    assert told == (
        "A new time zone holds at once.\n"
        "momentary (momentary): at 20:00 every day; open 60 minutes.\n"
        "\n"
        "What it changes from each person's next day:\n"
        "4 future prompts of 1 participant move, 12 fall away; 0 past or answered prompts\n"
        "are touched (12 stay as they are).\n"
        "  P1 (Europe/Amsterdam):\n"
        "    Thu 2026-03-05 10:00 → 20:00  momentary\n"
        "    Thu 2026-03-05 13:00  momentary falls away\n"
        "    Thu 2026-03-05 16:00  momentary falls away\n"
        "    Thu 2026-03-05 19:00  momentary falls away\n"
        "    Fri 2026-03-06 10:00 → 20:00  momentary\n"
        "    Fri 2026-03-06 13:00  momentary falls away\n"
        "    … and 10 more\n"
        "\n"
        "Nothing is wrong with it, and nothing was published; say --yes and --reason why to do it.\n"
        f"To play it through first: manage.py dry_run evenings --plan {file}\n"
    )
    with pytest.raises(CommandError, match="reason: say why the plan changes"):
        call("publish_sampling_plan", "evenings", file, yes=True)
    told = call("publish_sampling_plan", "evenings", file, yes=True, reason="holidays")
    assert "Version 2 of the sampling plan of evenings is published." in told
    assert "It has reached 1 of 1 participants.\nChange 1: 4 move, 12 fall away.\n" in told
    assert "is version 2 of the sampling plan of evenings already" in call(
        "publish_sampling_plan", "evenings", file, yes=True
    )
    listed = call("schedule_changes", "evenings")
    assert listed == (
        "   1  2026-03-04 11:00 UTC  plan 1 → 2, from each person's next day\n"
        "      4 move, 12 fall away.\n"
        "      “holidays” (server)\n"
    )
    told = call("schedule_changes", "evenings", undo=1, reason="they are over")
    assert told.startswith("Change 1 is taken back by change 2, from each person's next day.")
    assert "Change 2: 4 move, 12 are asked again." in told
    assert list(Prompt.objects.order_by("pk").values_list("scheduled_at", flat=True)) == before
    assert "plan 2 → 3, takes back 1, from each" in call("schedule_changes", "evenings")


def test_one_persons_schedule_is_shown_then_changed_then_taken_back(phone: FakePhone) -> None:
    told = call("change_schedule", "evenings", "P1", waking=["14:00-04:00", "6:09:00-23:00"], last_day="2026-03-10")
    assert "4 future prompts of 1 participant are added, 6 fall away; 0 past or answered" in told
    assert told.endswith("Nothing was changed; say --yes and --reason why to do it.\n")
    assert Participant.objects.get().schedule == {}
    told = call(
        "change_schedule", "evenings", "P1", waking=["14:00-04:00", "6:09:00-23:00"], last_day="2026-03-10", yes=True,
        reason="night shifts",
    )  # fmt: skip
    assert told.splitlines()[-2].startswith("Change 1, P1: ")
    assert Participant.objects.get().schedule == {"waking": {"every": ["14:00", "04:00"], "6": ["09:00", "23:00"]}}
    call("change_schedule", "evenings", "P1", waking=["6:"], yes=True, reason="no week-ends")
    assert Participant.objects.get().schedule == {"waking": {"every": ["14:00", "04:00"]}}
    call("schedule_changes", "evenings", undo=2)
    with pytest.raises(CommandError, match="Change 3 rests on change 1; take that back first"):
        call("schedule_changes", "evenings", undo=1)


def test_everybody_is_extended_at_once_or_nobody(phone: FakePhone) -> None:
    FakePhone(phone.study, pseudonym="P2").enrolled()
    told = call(
        "change_schedule", "evenings", everybody=True, last_day="2026-03-09", yes=True, reason="a week-end more"
    )
    assert "8 future prompts of 2 participants are added" in told
    assert Prompt.objects.filter(day=8).count() == 8
    Participant.objects.filter(pseudonym="P2").update(last_day="2026-03-08")
    with pytest.raises(CommandError, match="P1 has this schedule already"):
        call("change_schedule", "evenings", "P2", "P1", last_day="2026-03-09", yes=True, reason="again")
    assert ScheduleChange.objects.count() == 2


@pytest.mark.parametrize(
    ("words", "options", "fault"),
    [
        (["P9"], {}, "Nobody in evenings is called 'P9'."),
        ([], {}, "Name people by their pseudonyms, or say --everybody."),
        (["P1"], {"waking": ["14:00"]}, "--waking '14:00': write it like 14:00-04:00, or 6:09:00-23:00 for Saturdays."),
        (
            ["P1"],
            {"event": ["quit"]},
            "--event 'quit': write it like event=2026-03-01, with a key of the plan's events.",
        ),
        (["P1"], {"wave": ["w=soon"]}, "--wave 'soon' is no date; write one like 2026-03-15."),
        (["P1"], {"wave": ["w=2026-03-15"]}, "waves.w: the plan has no wave of this key; there are: none."),
        (["P1"], {"last_day": "2026-04-01"}, "last_day: 2026-04-01 is after the study's last day, 2026-03-15."),
    ],
)
def test_what_cannot_be_is_refused_with_what_would_be_accepted(
    phone: FakePhone, words: list[str], options: dict[str, Any], fault: str
) -> None:
    with pytest.raises(CommandError) as refused:
        call("change_schedule", "evenings", *words, yes=True, reason="why not", **options)
    assert str(refused.value).startswith(fault)
    assert not ScheduleChange.objects.exists()
