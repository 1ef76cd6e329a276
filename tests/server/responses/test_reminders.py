"""What a phone is told of reminders and of the grace, and that it costs no more questions for more prompts."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ema_server.common import clock
from ema_server.participants.models import Device
from ema_server.responses.sync import sync_content
from ema_server.studies.services import publish_sampling_plan
from tests.world import SAMPLING, FakePhone, live_study

pytestmark = pytest.mark.django_db
RULE = {**SAMPLING["rules"][0], "reminders": [10, 25], "grace_minutes": 15}


def reminded_after(prompt: dict[str, str]) -> list[int]:
    due = datetime.fromisoformat(prompt["scheduled_at"])
    return [(datetime.fromisoformat(each) - due) // timedelta(minutes=1) for each in prompt["remind_at"]]


def test_a_prompt_says_when_to_remind_and_how_long_the_grace_is_by_its_own_version_of_the_plan() -> None:
    study = live_study()
    publish_sampling_plan(study=study, document={"rules": [RULE]})
    phone = FakePhone(study).enrolled()
    publish_sampling_plan(study=study, document={"rules": [{**RULE, "reminders": [5]}]})
    later = FakePhone(study, pseudonym="P2").enrolled()
    for prompt in phone.call("GET", "sync").json()["prompts"]:
        assert (reminded_after(prompt), prompt["grace_minutes"]) == ([10, 25], 15)
    assert reminded_after(later.prompts[0]) == [5]


def test_a_plan_without_reminders_has_none_and_no_grace() -> None:
    phone = FakePhone(live_study()).enrolled()
    assert {(len(each["remind_at"]), each["grace_minutes"], each["decision"]) for each in phone.prompts} == {
        (0, 0, None)
    }


def test_a_phone_with_many_prompts_asks_the_database_no_more_often_than_one_with_few() -> None:
    counts = []
    for rule in (RULE, {**RULE, "times": ["10:00"]}, {**RULE, "decide": {"options": {"a": 0.5, "b": 0.5}}}):
        study = live_study()
        publish_sampling_plan(study=study, document={"rules": [rule]})
        FakePhone(study).enrolled()
        device = Device.objects.select_related("participant__study").get(participant__study=study)
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert sync_content(device, now=clock.now()).prompts
        counts.append(len(asked))
    assert len(set(counts)) == 1
