"""A dry run's figures by hand, its response model against its closed form, and the same run from the same seed."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from django.template.loader import render_to_string

from ema_server.sampling.dry_run import DryRun, Responding, dry_run
from ema_server.sampling.dry_run.heat import heat_of
from ema_server.sampling.dry_run.responding import FATES
from ema_server.sampling.dry_run.text import lines_of
from ema_server.studies.sampling_rules import plan_faults

FOUR = ["10:00", "13:00", "16:00", "19:00"]
SPRING, AUTUMN = date(2026, 3, 28), date(2026, 10, 24)  # the day before the clocks change in Amsterdam


def rule(key: str = "m", **more: Any) -> dict[str, Any]:
    return {"key": key, "questionnaire": "q", "open_minutes": 60, **more}


def run_of(*rules: dict[str, Any], plan: dict[str, Any] | None = None, **more: Any) -> DryRun:
    document = {**(plan or {}), "rules": list(rules)}
    days = more.pop("study_days", 7)
    assert plan_faults(document, questionnaires={"q": [], "d": []}, days=days, arms=more.get("arms", ())) == []
    return dry_run(document, **{"study_days": days, "people": 10, "zones": ["UTC"], **more})


def test_fixed_times_give_the_figures_that_one_counts_by_hand() -> None:
    run = run_of(rule(times=FOUR), plan={"gap_minutes": 60}, lengths={"q": 2.5})
    assert (run.prompts, run.rules[0].people, run.rules[0].earliest, run.rules[0].latest) == (280, 10, "10:00", "19:00")
    gaps = run.gaps
    assert (gaps.pairs, gaps.least, gaps.low, gaps.median, gaps.high) == (210, 180, 180, 180, 180)
    assert (gaps.shortest_night, gaps.below) == (15 * 60, 0)
    burden = run.burden
    assert (burden.per_day, burden.most_in_a_day, burden.minutes_per_day, burden.minutes_per_person) == (4, 4, 10, 70)
    assert (burden.per_person_least, burden.per_person_median, burden.per_person_most) == (28, 28, 28)
    assert run.picture.first_half_hour == 20
    row = [10 if half_hour % 6 == 0 else 0 for half_hour in range(19)]
    assert run.picture.counts == {"m": [row] * 7}
    assert run.warnings == []


def test_the_busiest_day_is_the_one_with_most_prompts() -> None:
    run = run_of(rule(times=FOUR), rule("extra", times=["21:00", "22:00"], days=[3, 3]))
    assert (run.burden.busiest_day, run.burden.busiest_prompts, run.burden.most_in_a_day) == (3, 6, 6)


def test_what_is_lost_is_what_the_response_model_says() -> None:
    responding = Responding(noticed=0.7, reminder_noticed=0.4, median_minutes=8, nine_in_ten_minutes=60)
    run = run_of(
        rule(times=FOUR, open_minutes=30, reminders=[10, 20]), people=100, study_days=28, responding=responding
    )
    expected, count = responding.shares(30, [10, 20]), 100 * 28 * 4
    assert sum(expected.values()) == pytest.approx(1)
    for fate in FATES:
        error = (expected[fate] * (1 - expected[fate]) / count) ** 0.5
        assert run.fates[fate] == pytest.approx(expected[fate], abs=4 * error), fate
    assert expected["unnoticed"] == pytest.approx(0.3 * 0.6 * 0.6)
    assert expected["in_time"] == pytest.approx(0.7 * responding.started_within(30))


def test_delays_have_the_median_and_the_ninth_tenth_that_were_stated() -> None:
    responding = Responding()
    assert responding.started_within(5) == pytest.approx(0.5)
    assert responding.started_within(30) == pytest.approx(0.9)
    assert responding.shares(60)["in_time"] == pytest.approx(0.79, abs=0.005)  # Wrzus & Neubauer 2023


@pytest.mark.parametrize("wrong", [{"noticed": 1.2}, {"median_minutes": 0}, {"nine_in_ten_minutes": 4}])
def test_a_response_model_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Responding(**wrong)


def test_the_64_notifications_of_an_iphone_by_hand() -> None:
    """12 a day: after 5 days of 12 come 4 more, which are two prompts and their reminders: 4 hours."""
    six = ["08:00", "10:00", "12:00", "14:00", "16:00", "18:00"]
    phones = run_of(rule(times=six, reminders=[10]), study_days=14).phones
    assert (phones.most_notifications, phones.people_beyond) == (14 * 12, 10)
    assert phones.reach_least == phones.reach_median == pytest.approx(5 + 4 / 24)


@pytest.mark.parametrize(("days", "reach"), [(16, None), (17, 16.0)])
def test_64_notifications_that_are_all_there_are_reach_to_the_end(days: int, reach: float | None) -> None:
    phones = run_of(rule(times=FOUR), study_days=days).phones
    assert (phones.reach_least, phones.reach_median) == (reach, reach)


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    drawn = rule(random={"count": 6})
    first, again, other = (
        run_of(drawn, zones=None, study_days=14, seed=seed).as_json for seed in (1, 1, 2)
    )  # people are among the arguments that stay
    assert first == again
    assert first["picture"] != other["picture"]
    assert json.loads(json.dumps(first)) == first


def test_no_gap_is_below_the_one_asked_for_at_clock_changes_either() -> None:
    drawn = rule(random={"count": 8, "from": "00:00", "to": "09:00", "spread": "anywhere"})
    for start in (SPRING, AUTUMN):
        run = run_of(
            drawn, plan={"gap_minutes": 60}, zones=["Europe/Amsterdam"], starts=[start], study_days=3, people=40
        )
        assert (run.gaps.below, run.clock_changes.below_gap) == (0, 0)
        assert run.gaps.least == 60
        assert run.clock_changes.nights == 40


def test_a_prompt_in_the_skipped_hour_moves_and_one_in_the_repeated_hour_comes_once() -> None:
    night = rule(times=["02:30"])
    spring, autumn = (
        run_of(night, zones=["Europe/Amsterdam"], starts=[start], study_days=3).clock_changes
        for start in (SPRING, AUTUMN)
    )
    assert (spring.prompts, spring.in_the_night, spring.moved, spring.repeated) == (10, 10, 10, 0)
    assert (autumn.prompts, autumn.in_the_night, autumn.moved, autumn.repeated) == (10, 10, 0, 10)


def test_without_dates_people_begin_all_over_a_year_and_many_meet_a_clock_change() -> None:
    run = run_of(rule(times=FOUR), zones=None, people=64, study_days=7)
    assert run.starts[0] < "2026-02-01" < "2026-12-01" < run.starts[1]
    assert run.clock_changes.people >= 10


def test_practice_and_event_buttons_are_counted_apart() -> None:
    run = run_of(
        rule(times=FOUR), rule("try", times=["12:00"], days=[1, 1], practice=True),
        {"key": "quarrel", "questionnaire": "d", "event": True, "weekdays": [1]},
    )  # fmt: skip
    assert (run.prompts, run.practice_prompts, run.burden.per_day) == (280, 10, 4)
    assert [(button.key, button.people, button.days) for button in run.buttons] == [("quarrel", 10, 1)]


def test_follow_ups_come_of_simulated_answers_and_no_more_often_than_at_most() -> None:
    follow = {"key": "after", "questionnaire": "d", "open_minutes": 30, "after": {"questionnaire": "q", "minutes": 20}}
    always = Responding(noticed=1.0, median_minutes=0.001, nine_in_ten_minutes=0.002)
    run = run_of(rule(times=FOUR), follow, responding=always)
    assert (run.follow_ups, run.rules[1].earliest, run.rules[1].latest) == (280, "10:20", "19:20")
    follow["after"] |= {"at_most": 3}
    assert run_of(rule(times=FOUR), follow, responding=always).follow_ups == 210
    never = run_of(rule(times=FOUR), follow, responding=Responding(noticed=0.0))
    assert "Rule after never asks anybody." in never.warnings


def test_prompts_that_overlap_are_named_with_their_share() -> None:
    run = run_of(rule(times=["10:00", "10:30"]))
    assert "Prompts overlap: m is still open when the next one comes, at 50 % of m." in [
        each.replace("\N{NO-BREAK SPACE}", " ") for each in run.warnings
    ]


def test_a_rule_that_asks_nobody_and_prompts_at_night_are_warned_of() -> None:
    run = run_of(
        rule(times=["06:30", "23:15"]), rule("late", times=["12:00"], from_event="quit", days=[100, 110]),
        plan={"own_events": [{"key": "quit"}]},
    )  # fmt: skip
    assert run.warnings == [
        "Rule late never asks anybody.",
        "70 prompts come before 07:00, the earliest at 06:30.",
        "70 prompts come after 23:00, the latest at 23:15.",
    ]


def test_people_with_other_hours_are_asked_within_these_and_told_of_where_a_plan_leaves_them_out() -> None:
    plan = {"waking": ["08:00", "22:00"]}
    fits = run_of(rule(random={"count": 6}), plan=plan, people=64)
    assert fits.hours["night owl"] == 8
    assert (fits.rules[0].earliest < "08:00", fits.rules[0].latest > "24:00", fits.asked) == (True, True, 64)
    clock_times = run_of(rule(times=["08:30", "15:00"]), plan=plan, people=64)
    assert any("prompts of m are not asked" in each for each in clock_times.warnings)
    morning = run_of(rule(times=["08:30"]), plan=plan, people=64)
    assert any("night owl" in each and "leave no time for any prompt of m" in each for each in morning.refused)
    assert morning.asked == 64 - 8 - 8  # night owls and long sleepers


def test_arms_share_the_people_and_each_is_asked_by_its_own_rules() -> None:
    run = run_of(rule(times=FOUR, arms=["b"]), arms=["a", "b"])
    assert (run.arms, run.rules[0].people, run.prompts) == ({"a": 5, "b": 5}, 5, 140)


def test_too_many_people_or_days_are_refused() -> None:
    for wrong in ({"people": 0}, {"people": 10_001}, {"study_days": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            dry_run({"rules": [rule(times=FOUR)]}, **{"study_days": 7, **wrong})


def test_the_picture_becomes_coarser_and_loses_no_prompt() -> None:
    run = run_of(rule(random={"count": 6}), zones=None, study_days=60).as_json
    for rows, columns in ((60, 48), (20, 13), (1, 5)):
        heat = heat_of(run, most_rows=rows, most_columns=columns)
        assert len(heat.rows) <= rows
        assert heat.columns <= columns
        assert sum(map(sum, heat.rows)) == run["prompts"]
        assert heat.level(heat.most) == 4
    assert heat_of(run, most_rows=20, most_columns=48).label(8) == "57–60"


def test_the_levels_of_the_legend_are_those_of_the_cells() -> None:
    heat = heat_of(run_of(rule(random={"count": 6}), people=50).as_json, most_rows=31, most_columns=66)
    assert heat.bounds()[-1][2] == heat.most
    for level, low, high in heat.bounds():
        assert {heat.level(count) for count in range(low, high + 1)} <= {level}


def test_the_words_fit_80_columns_and_begin_with_what_to_look_at() -> None:
    run = run_of(
        rule("a-rule-whose-key-is-as-long-as-it-may-b.", random={"count": 6}, reminders=[10, 20], title="T" * 90),
        rule("try", times=["12:00"], practice=True), plan={"waking": ["08:00", "22:00"]}, zones=None, study_days=60,
    )  # fmt: skip
    lines = list(lines_of(run.as_json, ["A sentence of the forecast. " * 5]))
    assert max(map(len, lines)) <= 80
    headings = [line for line in lines if line and not line.startswith(" ")]
    assert headings[1] == "Look at this"
    assert headings[-2:] == ["How precise it will be", "Assumed"]


def test_the_page_has_a_picture_that_says_what_it_shows_and_its_table() -> None:
    run = run_of(rule(times=FOUR, title="<b>Now</b>"), rule("evening", times=["21:00"]), zones=None)
    page = render_to_string("sampling/dry_run.html", {"run": run.as_json, "forecast": ["A sentence."]})
    words = "Prompts by day and local clock time: from 10:00 to 21:00, most between 10:00 and 10:30; most on day 1."
    assert page.count(f'aria-label="{words}"') == 2  # the wide drawing and the narrow one
    assert '<th scope="col" class="r">10:00</th>' in page
    assert "<b>Now</b>" not in page
    assert "style=" not in page
    assert "<script" not in page


def test_a_plan_of_buttons_alone_is_shown_too() -> None:
    run = run_of({"key": "quarrel", "questionnaire": "d", "event": True})
    assert run.prompts == 0
    assert any(line.startswith("  quarrel: a button in the app") for line in lines_of(run.as_json))
    assert "quarrel: a button" in render_to_string("sampling/dry_run.html", {"run": run.as_json})
