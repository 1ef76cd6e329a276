"""Travel, as docs/time.md says: nobody is asked twice, what was asked stays, the gap holds, what falls away says why."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ema_server.participants.models import Device, Participant
from ema_server.participants.services import invite
from ema_server.sampling.models import Prompt, PromptEvent
from ema_server.sampling.queries import called_off_by
from ema_server.studies.services import publish_sampling_plan
from tests.world import FakePhone, live_study

pytestmark = pytest.mark.django_db

ZONES = [
    "Pacific/Kiritimati", "Pacific/Apia", "Pacific/Chatham", "Australia/Lord_Howe", "Asia/Tokyo", "Asia/Kathmandu", "Asia/Tehran",
    "Europe/Amsterdam", "Africa/Casablanca", "UTC", "America/St_Johns", "America/Nuuk", "America/Santiago", "America/New_York",
    "Pacific/Honolulu", "Pacific/Pago_Pago",
]  # fmt: skip
GAP = timedelta(minutes=45)
RULES = [
    {"key": "r", "questionnaire": "momentary", "open_minutes": 30, "random": {"count": 5}},
    {"key": "e", "questionnaire": "momentary", "open_minutes": 30, "times": ["sleep-5"]},
]
FIRST, LAST = date(2026, 3, 2), date(2026, 3, 15)  # New York's clocks go forward on 8 March
NIGHTS = {"waking": {"every": ["18:00", "10:00"]}}


class Traveller:
    """Somebody who flies and whose phone says so, with a clock of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, travel: str, zone: str, schedule: dict[str, Any]) -> None:
        self.patch = monkeypatch
        self.at(datetime.combine(FIRST, time(0), UTC) - timedelta(days=2))
        study = live_study()
        publish_sampling_plan(study=study, document={"gap_minutes": 45, "travel": travel, "rules": RULES})
        person, code = invite(study=study, pseudonym="P1", now=self.now, first_day=FIRST, last_day=LAST)
        Participant.objects.filter(pk=person.pk).update(schedule=schedule)
        self.phone = FakePhone(study, zone=zone)
        self.phone.token = self.phone.call("POST", "enrolments", self.phone.enrolment(code)).json()["token"]

    def at(self, moment: datetime) -> None:
        self.now = moment
        self.patch.setattr("ema_server.common.clock.now", lambda: moment)

    def flies(self, zone: str, since: datetime, *, told_after: timedelta = timedelta(0)) -> None:
        self.at(since + told_after)
        body = {"zone": zone, "zone_since": since.isoformat()}
        assert self.phone.call("PUT", "device", body).status_code == 200

    def asked(self) -> list[Prompt]:
        return list(Prompt.objects.exclude(called_off_by(datetime(2100, 1, 1, tzinfo=UTC))).order_by("scheduled_at"))


@pytest.mark.parametrize("seed", range(24))
def test_wherever_and_whenever_somebody_flies(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = Random(seed)
    travel = ("at_once", "next_day", "home")[seed % 3]
    home = chance.choice(ZONES)
    one = Traveller(monkeypatch, travel=travel, zone=home, schedule=NIGHTS if seed % 4 == 3 else {})
    planned = {prompt.pk for prompt in Prompt.objects.all()}
    since = datetime.combine(FIRST, time(0), UTC)
    for _ in range(4):
        since += timedelta(minutes=chance.randrange(3 * 60, 70 * 60))
        before = {prompt.pk: prompt for prompt in one.asked()}
        zone = chance.choice(ZONES)
        one.flies(zone, since, told_after=timedelta(minutes=chance.choice([0, 0, 30])))
        asked = one.asked()
        assert Prompt.objects.count() == len(planned)  # the same prompts: none is made a second time
        for prompt in asked:
            was = before.get(prompt.pk)
            if was is not None and was.scheduled_at < since:
                assert (prompt.scheduled_at, prompt.zone) == (was.scheduled_at, was.zone)
            else:
                assert prompt.scheduled_at >= since
        assert {pk for pk, was in before.items() if was.scheduled_at < since} <= {prompt.pk for prompt in asked}
        assert all(later.scheduled_at - earlier.scheduled_at >= GAP for earlier, later in pairwise(asked))
        there = ZoneInfo(home if travel == "home" else zone)
        tomorrow = since.astimezone(there).date() + timedelta(days=1)
        for prompt in asked:
            local = prompt.scheduled_at.astimezone(ZoneInfo(prompt.zone))
            assert (local.date(), local.time()) == (prompt.local_date, prompt.local_time)
            lies_ahead = travel == "at_once" or prompt.local_date > tomorrow
            if prompt.scheduled_at >= since and lies_ahead:
                assert prompt.zone == str(there)
        assert Device.objects.get().zone == zone
    codes = set(PromptEvent.objects.filter(kind="cancelled").values_list("code", flat=True))
    assert codes <= {"zone_changed", "too_close"}
    if travel == "home":
        assert not PromptEvent.objects.exists()
    final = since + timedelta(days=2)  # once they stay, every day is asked in full
    full = [prompt for prompt in one.asked() if prompt.scheduled_at > final]
    expected = Prompt.objects.filter(day__gt=(final.date() - FIRST).days + 2).count()
    assert len(full) >= expected


def at(zone: str, text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def evenings(one: Traveller) -> dict[int, str]:
    """The fixed time of each day, 21:55, as the clock there shows it."""
    return {
        prompt.day: f"{prompt.local_date:%d} {prompt.local_time:%H:%M} {prompt.zone.split('/')[1]}"
        for prompt in one.asked()
        if prompt.rule == "e"
    }


@pytest.mark.parametrize("travel", ["at_once", "next_day"])
def test_the_day_that_the_date_line_skips_is_not_asked(monkeypatch: pytest.MonkeyPatch, travel: str) -> None:
    one = Traveller(monkeypatch, travel=travel, zone="Pacific/Honolulu", schedule={})
    one.flies("Pacific/Kiritimati", at("Pacific/Honolulu", "2026-03-03T23:00"))  # there it is 4 March, 23:00
    assert list(evenings(one).items())[:4] == [
        (1, "02 21:55 Honolulu"), (2, "03 21:55 Honolulu"), (4, "05 21:55 Kiritimati"), (5, "06 21:55 Kiritimati"),
    ]  # fmt: skip
    skipped = PromptEvent.objects.filter(prompt__day=3, kind="cancelled")
    assert {event.code for event in skipped} == {"zone_changed"}
    assert len(skipped) == 6


@pytest.mark.parametrize("travel", ["at_once", "next_day"])
def test_the_day_that_the_date_line_repeats_is_asked_once(monkeypatch: pytest.MonkeyPatch, travel: str) -> None:
    one = Traveller(monkeypatch, travel=travel, zone="Pacific/Kiritimati", schedule={})
    one.flies("Pacific/Honolulu", at("Pacific/Kiritimati", "2026-03-04T23:00"))  # there it is 3 March, 23:00
    assert list(evenings(one).items())[:5] == [
        (1, "02 21:55 Kiritimati"), (2, "03 21:55 Kiritimati"), (3, "04 21:55 Kiritimati"), (4, "05 21:55 Honolulu"),
        (5, "06 21:55 Honolulu"),
    ]  # fmt: skip
    assert not PromptEvent.objects.filter(kind="cancelled").exists()


def test_from_the_next_day_means_that_today_goes_on_by_the_old_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Traveller(monkeypatch, travel="next_day", zone="Europe/Amsterdam", schedule={})
    one.flies("America/New_York", at("Europe/Amsterdam", "2026-03-03T15:00"))
    assert [evenings(one)[day] for day in (2, 3)] == ["03 21:55 Amsterdam", "04 21:55 New_York"]


def test_at_home_the_phones_zone_is_kept_and_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Traveller(monkeypatch, travel="home", zone="Europe/Amsterdam", schedule={})
    before = [(prompt.pk, prompt.scheduled_at) for prompt in one.asked()]
    one.flies("America/New_York", at("Europe/Amsterdam", "2026-03-03T15:00"))
    assert [(prompt.pk, prompt.scheduled_at) for prompt in one.asked()] == before
    assert (Device.objects.get().zone, Participant.objects.get().zone) == ("America/New_York", "Europe/Amsterdam")


@pytest.mark.parametrize(
    "zone",
    ["Mars/Phobos", "", "+02:00", "Europe", "posixrules", "right/Europe/Amsterdam", "../etc/passwd", "CET\x00", 5],
)
def test_an_unknown_zone_is_refused_by_phones_and_at_enrolment(monkeypatch: pytest.MonkeyPatch, zone: Any) -> None:
    one = Traveller(monkeypatch, travel="at_once", zone="Europe/Amsterdam", schedule={})
    _, code = invite(study=one.phone.study, pseudonym="P2", now=one.now, first_day=FIRST, last_day=LAST)
    answers = [
        one.phone.call("PUT", "device", {"zone": zone}),
        one.phone.call("POST", "enrolments", {**one.phone.enrolment(code), "zone": zone}),
    ]
    for answer in answers:
        assert answer.status_code == 400
        assert "zone" in answer.json()["errors"]
    assert "Europe/Amsterdam" in str(one.phone.call("PUT", "device", {"zone": "Mars/Phobos"}).json())
    assert {prompt.zone for prompt in one.asked()} == {"Europe/Amsterdam"}
