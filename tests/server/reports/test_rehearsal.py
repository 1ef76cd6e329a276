"""A plan rehearsed from the command line: for a draft, without a plan, with a faulty one."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django_scopes import scope

from ema_server.reports.rehearsal import plan_rehearsal
from ema_server.studies.models import Study
from tests.world import PLAN, live_study

pytestmark = pytest.mark.django_db


def told(*words: str, **options: Any) -> str:
    out = StringIO()
    call_command("dry_run", *words, "--no-forecast", stdout=out, **options)
    return out.getvalue()


def test_a_study_that_is_not_live_yet_is_rehearsed() -> None:
    study = live_study(slug="planned")
    Study.objects.filter(pk=study.pk).update(state=Study.State.DRAFT)
    text = told("planned", "--people", "20")
    assert "20 simulated people, 14 days each, 1,120 prompts" in text
    assert text.index("Look at this") < text.index("When prompts come") < text.index("Assumed")
    assert max(map(len, text.splitlines())) <= 80


def test_json_holds_everything() -> None:
    live_study(slug="planned")
    found = json.loads(told("planned", "--people", "8", "--json", "--zones", "study", "--dates", "--days", "7"))
    run = found["run"]
    assert (run["zones"], run["study_days"], run["prompts"]) == (["Europe/Amsterdam"], 7, 8 * 28)
    assert all("2026-03-02" <= first <= "2026-03-09" for first in run["starts"])
    assert run["rules"][0]["minutes"] == pytest.approx(3 * 7 / 60)


def test_a_study_without_a_plan_is_told_what_to_do_and_a_file_will_do(tmp_path: Path) -> None:
    study = live_study(slug="bare")
    with scope(study=study):
        study.sampling_plans.all().delete()
    with pytest.raises(CommandError, match=r"bare has no sampling plan yet: publish one .* or give one"):
        told("bare")
    plan = tmp_path / "plan.json"
    plan.write_text(
        json.dumps({"rules": [{"key": "m", "questionnaire": "momentary", "open_minutes": 60, "random": {"count": 5}}]})
    )
    assert "10 simulated people, 14 days each, 700 prompts" in told("bare", "--plan", str(plan), "--people", "10")


def test_the_faults_of_a_plan_are_listed_with_their_places(tmp_path: Path) -> None:
    live_study(slug="planned")
    plan = tmp_path / "plan.json"
    plan.write_text(
        json.dumps(
            {
                "gap_minutes": 9999,
                "rules": [{"key": "m", "questionnaire": "none", "open_minutes": 60, "times": ["25:00"]}],
            }
        )
    )
    with pytest.raises(CommandError) as refused:
        told("planned", "--plan", str(plan))
    lines = str(refused.value).splitlines()
    assert lines[0] == "The plan cannot be met:"
    assert [line[4:].split(":")[0] for line in lines[1:] if line.startswith("  - ")] == [
        "gap_minutes", "rules[0] (m).questionnaire", "rules[0] (m).times",
    ]  # fmt: skip
    assert refused.value.returncode == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--zones", "Mars/Base"], "--zones: 'Mars/Base' is no IANA time zone"),
        (["--zones", ","], "--zones: name at least one"),
        (["--people", "0"], "people: 0 is not accepted"),
        (["--days", "15"], "days: 15 is not accepted; the study lasts 14 days"),
    ],
)
def test_what_cannot_be_rehearsed_is_refused_with_what_would_be(words: list[str], says: str) -> None:
    live_study(slug="planned")
    with pytest.raises(CommandError, match=says):
        told("planned", *words)


def test_the_forecast_has_the_people_prompts_days_and_answers_of_the_dry_run() -> None:
    study = live_study()
    with scope(study=study):
        rehearsal = plan_rehearsal(study, people=20, days=7, simulations=2)
    assert rehearsal.forecast is not None
    assumed = rehearsal.forecast.assumptions
    assert (assumed.people, assumed.prompts, assumed.prompts_per_day, assumed.days) == (20, 28, 4.0, 7)
    assert assumed.compliance == round(rehearsal.run.questionnaires[0].answered, 2)
    assert rehearsal.forecast_words[1].startswith("Within persons: the 95 % interval is expected to reach")
    assert json.loads(json.dumps(rehearsal.as_json))["forecast"]["simulations"] == 2


def test_where_no_forecast_can_be_made_the_words_say_why() -> None:
    study = live_study(plan={**PLAN, "questionnaire": "evening"})
    with scope(study=study):
        assert plan_rehearsal(study, people=5, simulations=2).forecast_words == [
            "No forecast: evening is what the analysis needs, and nobody is asked it."
        ]
    study = live_study()
    with scope(study=study):
        rehearsal = plan_rehearsal(study, people=1, simulations=2)
    assert rehearsal.forecast is None
    assert rehearsal.forecast_words[0].startswith("No forecast: people: 1 is not accepted")


def test_a_rehearsal_writes_nothing() -> None:
    study = live_study()
    with scope(study=study):
        rehearsal = plan_rehearsal(study, people=5, simulations=0)
        assert not study.participants.exists()
        assert not study.prompts.exists()
    assert rehearsal.run.people == 5
