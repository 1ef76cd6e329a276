"""What the rows say of the grace after a start, and of micro-randomised decision points."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from ema_server.common import clock
from ema_server.exports import codebook
from ema_server.exports.contents import contents
from ema_server.exports.models import Export
from ema_server.reports import dataset
from ema_server.reports.fates import Window
from ema_server.sampling import decisions
from ema_server.sampling.models import Decision, Prompt, PromptEvent
from ema_server.sampling.services import withdraw_participant
from ema_server.studies.services import publish_sampling_plan
from tests.world import PLAN, SAMPLING, FakePhone, live_study

NUDGED = {"title": "T", "items": [
    {"name": "support", "type": "slider", "range": [0, 100], "text": "S?"},
    {"name": "stress", "type": "slider", "range": [0, 100], "text": "S?"},
    {"name": "read", "type": "yesno", "text": "R?", "show_if": '@option == "message"'},
]}  # fmt: skip
OPTIONS = {"message": 0.6, "none": 0.4}


def enrolled(*, survey: dict[str, Any] | None = None, **rule: Any) -> FakePhone:
    study = live_study(survey=survey)
    publish_sampling_plan(study=study, document={"rules": [{**SAMPLING["rules"][0], **rule}]})
    return FakePhone(study).enrolled()


def frame(phone: FakePhone) -> pd.DataFrame:
    return dataset.load(phone.study, clock.now(), PLAN)


def after(phone: FakePhone, minutes: float) -> str:
    return (datetime.fromisoformat(phone.prompts[0]["scheduled_at"]) + timedelta(minutes=minutes)).isoformat()


# Grace ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "answered", "in_time"),
    [
        (Window(60), 60, True),
        (Window(60), 61, False),
        (Window(60, 10), 61, False),
        (Window(60, 10, 60), 70, True),
        (Window(60, 10, 60), 71, False),
        (Window(60, 10, 61), 65, False),
        (Window(60, 0, 10), 61, False),
    ],
)
def test_in_time_is_before_it_expires_or_started_by_then_and_finished_within_the_grace(
    window: Window, answered: int, in_time: bool
) -> None:
    assert window.holds(answered) == in_time


@pytest.mark.django_db
def test_the_longest_grace_can_be_read() -> None:
    phone = enrolled(grace_minutes=24 * 60)
    phone.submit(phone.item(0, minutes=60 + 24 * 60, started_at=after(phone, 60)))
    assert frame(phone).status.tolist()[0] == "answered"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("started", "finished", "status"),
    [(59, 69, "answered"), (60, 70, "answered"), (61, 69, "late"), (59, 71, "late"), (None, 69, "late")],
)
@pytest.mark.parametrize("told_by", ["the submission", "an event"])
def test_the_start_comes_from_the_submission_or_from_an_event(
    started: float | None, finished: float, status: str, told_by: str
) -> None:
    phone = enrolled(grace_minutes=10)
    more = {}
    if started is not None and told_by == "an event":
        phone.report(0, "started", at=after(phone, started))
    elif started is not None:
        more = {"started_at": after(phone, started)}
    phone.submit(phone.item(0, minutes=finished, **more))
    assert frame(phone)["status"].iloc[0] == status
    with dataset.snapshot():
        answers = contents(phone.study, shape=Export.Shape.ANSWERS, cutoff=clock.now(), plan=PLAN)
        assert {each for part, _ in answers.pieces() for each in part["status"]} == {status}


@pytest.mark.django_db
def test_what_was_broken_off_in_time_was_started_in_time() -> None:
    phone = enrolled(grace_minutes=10)
    phone.submit(phone.item(0, minutes=55, complete=False), phone.item(0, minutes=69))
    assert frame(phone)["status"].iloc[0] == "answered"


@pytest.mark.django_db
def test_a_clock_back_in_1970_starts_nothing_in_time() -> None:
    phone = enrolled(grace_minutes=10)
    phone.submit(phone.item(0, minutes=65, started_at="1970-01-01T00:00:00Z"))
    assert frame(phone)["status"].iloc[0] == "late"


# Decisions --------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_study_without_decision_points_has_no_column_for_them() -> None:
    assert not [name for name in frame(enrolled()).columns if name.startswith("decision")]


@pytest.mark.django_db
def test_the_rows_hold_what_was_drawn_how_likely_it_was_and_who_was_available() -> None:
    phone = enrolled(decide={"options": OPTIONS})
    phone.report(0, "unavailable", reason="driving")
    first = Prompt.objects.get(pk=phone.prompts[1]["id"])
    decisions.judge_decisions(now=first.scheduled_at)
    rows = frame(phone)
    assert rows["decision_available"].iloc[:2].tolist() == [0.0, 1.0]
    assert rows["decision_available"].iloc[2:].isna().all()
    drawn = dict(Decision.objects.values_list("prompt__scheduled_at", "option"))
    assert rows["decision_option"].tolist() == [drawn[moment] for moment in rows["scheduled_at"]]
    assert rows["decision_probability"].tolist() == [OPTIONS[option] for option in rows["decision_option"]]
    told = contents(phone.study, shape=Export.Shape.PROMPTS, cutoff=clock.now(), plan=PLAN)
    columns = {column["name"]: column for column in codebook.as_dict(told)["columns"]}
    assert [level["value"] for level in columns["decision_option"]["levels"]] == ["message", "none"]


@pytest.mark.django_db
def test_of_two_words_the_phones_counts_and_of_its_own_the_first() -> None:
    phone = enrolled(decide={"options": OPTIONS})
    prompt = Prompt.objects.get(pk=phone.prompts[0]["id"])
    decisions.judge_decisions(now=prompt.scheduled_at)
    assert frame(phone)["decision_available"].iloc[0] == 1.0
    phone.report(0, "available", at=after(phone, 1))
    phone.report(0, "unavailable", at=after(phone, 0))
    assert frame(phone)["decision_available"].iloc[0] == 0.0


@pytest.mark.django_db
def test_what_was_shown_for_an_option_counts_only_where_it_could_be_done() -> None:
    phone = enrolled(survey=NUDGED, decide={"options": {"message": 0.999, "none": 0.001}})
    full = {"support": 1, "stress": 2, "read": True}
    for place in (0, 1):
        assert phone.submit(phone.item(place, answers=full))[0]["status"] == "stored"
    phone.report(1, "unavailable")
    assert frame(phone)["read"].iloc[0] == 1.0
    assert pd.isna(frame(phone)["read"].iloc[1])


def judged(phone: FakePhone, place: int = 0) -> tuple[float, str]:
    row = frame(phone).iloc[place]
    return row["decision_available"], row["decision_told_by"]


@pytest.mark.django_db
@pytest.mark.parametrize("action", ["shown", "dismissed", "an answer"])
def test_what_a_phone_says_after_the_action_does_not_count_for_it_may_come_of_the_action(
    action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [datetime(2026, 3, 2, 6, tzinfo=UTC)]
    monkeypatch.setattr("ema_server.common.clock.now", lambda: now[0])
    phone = enrolled(decide={"options": OPTIONS})
    now[0] = datetime(2026, 3, 2, 9, 5, tzinfo=UTC)
    if action == "an answer":
        phone.submit(phone.item(0, minutes=2))
    else:
        phone.report(0, action, at=after(phone, 2))
    phone.report(0, "unavailable", at=after(phone, 3))
    assert pd.isna(judged(phone)[0])
    assert decisions.judge_decisions(now=clock.now()) == 1  # so the server judges, by how things stood
    assert judged(phone) == (1.0, "server")
    phone.report(0, "unavailable", at=after(phone, 1))
    assert judged(phone) == (0.0, "phone")


@pytest.mark.django_db
def test_what_a_phone_says_when_the_prompt_is_over_does_not_count() -> None:
    phone = enrolled(decide={"options": OPTIONS})
    phone.report(0, "unavailable", at=after(phone, 61))
    assert pd.isna(judged(phone)[0])


@pytest.mark.django_db
def test_who_leaves_after_a_decision_point_stays_in_its_row_and_what_lay_ahead_is_none() -> None:
    """Dropped, the rows of whoever an action drives away would be missing for that option alone."""
    phone = enrolled(decide={"options": OPTIONS})
    first = Prompt.objects.get(pk=phone.prompts[0]["id"])
    left = first.scheduled_at + timedelta(minutes=3)
    withdraw_participant(participant=first.participant, now=left, actor="server")
    assert decisions.judge_decisions(now=left) == 1
    rows = frame(phone)
    assert rows[["decision_available", "status"]].to_numpy().tolist() == [[1.0, "cancelled"]]


@pytest.mark.django_db
def test_before_somebody_is_in_there_is_no_decision_point() -> None:
    phone = enrolled(decide={"options": OPTIONS})
    first = Prompt.objects.get(pk=phone.prompts[0]["id"])
    phone.study.participants.update(enrolled_at=first.scheduled_at + timedelta(minutes=1))
    assert decisions.judge_decisions(now=first.scheduled_at + timedelta(minutes=2)) == 0


@pytest.mark.django_db
def test_an_answer_to_the_prompt_itself_by_a_slow_clock_is_no_recent_answer() -> None:
    phone = enrolled(decide={"options": OPTIONS, "rest_minutes": 60})
    phone.submit(phone.item(0, minutes=-4))
    decisions.judge_decisions(now=Prompt.objects.get(pk=phone.prompts[0]["id"]).scheduled_at)
    assert PromptEvent.objects.get(kind__in=decisions.AVAILABILITY).code == ""
