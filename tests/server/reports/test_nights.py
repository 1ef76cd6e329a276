"""A study's night: asked for once, run once, never overwritten."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest

from ema_server.common import clock
from ema_server.ledger.models import Job
from ema_server.reports import queries, services
from ema_server.reports.models import Report
from ema_server.studies.models import Study
from tests.world import MONDAY, PLAN, FakePhone, live_study

pytestmark = pytest.mark.django_db


def answered_study(**more: Any) -> FakePhone:
    """A study with six people who answered 20 prompts each."""
    study = live_study(**more)
    for person in range(6):
        phone = FakePhone(study, pseudonym=f"P{person}").enrolled()
        phone.submit(
            *(
                phone.item(
                    n,
                    answers={"support": 20 + (7 * n + 13 * person) % 60, "stress": 30 + (11 * n * n + 5 * person) % 50},
                )
                for n in range(20)
            )
        )
    return phone


def test_each_collecting_study_gets_one_job_after_its_own_local_night() -> None:
    study = live_study()
    before, after = (
        datetime(2026, 3, 4, 0, 30, tzinfo=UTC),
        datetime(2026, 3, 4, 1, 30, tzinfo=UTC),
    )  # 01:30, 02:30 there
    services.ask_for_due_nights(now=before)
    assert [job.key for job in Job.objects.all()] == [f"{study.slug}:2026-03-02"]
    services.ask_for_due_nights(now=after)
    services.ask_for_due_nights(now=after + timedelta(hours=5))
    assert sorted(job.key for job in Job.objects.all()) == [f"{study.slug}:2026-03-02", f"{study.slug}:2026-03-03"]


def test_nights_missed_while_the_server_was_down_are_asked_for_later_up_to_two_weeks_of_them() -> None:
    study = live_study()
    services.ask_for_due_nights(now=datetime(2026, 3, 4, 12, tzinfo=UTC))
    services.ask_for_due_nights(now=datetime(2026, 3, 8, 12, tzinfo=UTC))  # four days later
    nights = [date(2026, 3, 3) + timedelta(days=day) for day in range(5)]
    assert [job.key for job in Job.objects.order_by("id")] == [f"{study.slug}:{night}" for night in nights]
    assert services.ask_for_due_nights(now=datetime(2026, 3, 8, 13, tzinfo=UTC)) == 0
    assert services.ask_for_due_nights(now=datetime(2026, 5, 1, 12, tzinfo=UTC)) == services.CATCH_UP_NIGHTS
    assert Job.objects.order_by("id").last().payload["night"] == "2026-04-30"


def test_a_night_by_hand_makes_no_gap_of_those_that_the_server_asks_for() -> None:
    study = live_study()
    services.ask_for_due_nights(now=datetime(2026, 3, 4, 12, tzinfo=UTC))
    services.ask_for_night(study=study, night=date(2026, 3, 6))  # today there, which has not passed
    services.ask_for_due_nights(now=datetime(2026, 3, 6, 12, tzinfo=UTC))
    assert sorted(job.payload["night"] for job in Job.objects.all()) == [f"2026-03-0{day}" for day in (3, 4, 5, 6)]


def test_a_study_that_starts_to_be_analysed_late_gets_its_newest_night() -> None:
    live_study()
    assert services.ask_for_due_nights(now=datetime(2026, 3, 12, 12, tzinfo=UTC)) == 1


def test_drafts_and_ended_studies_are_left_in_peace() -> None:
    live_study()
    Study.objects.update(state=Study.State.ENDED)
    assert services.ask_for_due_nights(now=datetime(2026, 3, 4, 12, tzinfo=UTC)) == 0


def test_a_night_runs_once_and_running_it_again_on_the_same_data_adds_nothing() -> None:
    phone = answered_study()
    night = clock.now().date()
    for _ in range(2):
        services.ask_for_night(study=phone.study, night=night, again=True)
        assert services.run_next_night(now=clock.now()) is not None
    assert services.run_next_night(now=clock.now()) is None
    report = Report.objects.get()
    assert report.results["models"][0]["n_rows"] == 120
    assert Job.objects.get().done_at is not None


def test_new_answers_add_a_report_and_erase_none() -> None:
    phone = answered_study()
    night = clock.now().date()
    first = services.produce_report(study=phone.study, night=night, now=clock.now())
    phone.submit(phone.item(21))
    second = services.produce_report(study=phone.study, night=night, now=clock.now())
    assert Report.objects.count() == 2
    assert queries.latest_report(phone.study) == second
    first.refresh_from_db()
    assert first.results["models"][0]["n_rows"] == 120


def test_a_night_that_fails_is_kept_and_tried_again() -> None:
    phone = answered_study()
    services.ask_for_night(study=phone.study, night=date(2026, 3, 9))
    with patch("analysis.report.build", side_effect=RuntimeError("boom")), pytest.raises(RuntimeError):
        services.run_next_night(now=clock.now())
    job = Job.objects.get()
    assert (job.done_at, Report.objects.count()) == (None, 0)
    assert job.last_error.startswith("RuntimeError at ema_server/reports/services.py:")
    assert services.run_next_night(now=job.due_at) is not None
    assert Report.objects.count() == 1


def test_a_night_before_anybody_enrolled_is_an_empty_report() -> None:
    phone = answered_study()
    phone.study.participants.update(enrolled_at=clock.now())
    report = services.produce_report(study=phone.study, night=MONDAY, now=clock.now())
    assert report.n_rows == 0
    assert report.results["models"][0]["status"] == "failed"
    assert report.results["models"][0]["cause"]


def test_while_a_study_collects_no_estimate_is_stored() -> None:
    phone = answered_study(plan={**PLAN, "mode": "conduct"})
    report = services.produce_report(study=phone.study, night=clock.now().date(), now=clock.now())
    (model,) = report.results["models"]
    assert not {"fixed", "within", "between", "contextual", "variance", "persons", "finding"} & {
        key for key, value in model.items() if value
    }


def test_the_json_holds_what_is_needed_to_make_the_figures_again() -> None:
    phone = answered_study()
    content = queries.report_as_json(
        services.produce_report(study=phone.study, night=clock.now().date(), now=clock.now())
    )
    assert {"night", "cutoff", "data_hash", "plan_hash", "code_version"} <= set(content)
    (model,) = content["models"]
    assert {"formula", "n_persons", "n_rows", "fixed", "contextual", "variance", "log_likelihood", "icc"} <= set(model)
    assert {"term", "estimate", "se", "df", "df_method", "lower", "upper"} <= set(model["fixed"][0])
