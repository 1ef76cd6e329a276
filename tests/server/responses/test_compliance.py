"""Compliance: what counts, told by examples, and once more by plain loops over a cast to which anything could happen."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import fields
from datetime import UTC, datetime, time, timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command

from ema_server.participants.models import Device, Participant, Pause
from ema_server.responses.compliance import GROUPINGS, Compliance, Counts, Rate, compliance
from ema_server.responses.models import Submission
from ema_server.sampling.models import Prompt, PromptEvent
from ema_server.sampling.services import withdraw_participant
from ema_server.sampling.timeline import state_of, timelines
from ema_server.studies.models import SamplingPlan, Study, SurveyVersion
from tests.world import MONDAY, SAMPLING, live_study

pytestmark = pytest.mark.django_db

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
LATER = NINE + timedelta(days=10)


# A study by hand ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def study() -> Study:
    return live_study()


def person_in(study: Study, pseudonym: str = "P1", *, since: datetime = NINE - HOUR, **more: Any) -> Participant:
    person = Participant.objects.create(
        study=study, pseudonym=pseudonym, state="active", enrolled_at=since, zone="UTC", first_day=MONDAY,
        last_day=MONDAY + timedelta(days=6), **more,
    )  # fmt: skip
    phone_of(person, since=since)
    return person


def phone_of(person: Participant, *, since: datetime, until: datetime | None = None) -> Device:
    return Device.objects.create(participant=person, token_digest=str(uuid4()), created_at=since, revoked_at=until)


def prompt_for(person: Participant, at: datetime = NINE, **more: Any) -> Prompt:
    facts = {
        "rule": "momentary", "questionnaire": "momentary", "day": (at.date() - MONDAY).days + 1, "scheduled_at": at,
        "expires_at": at + HOUR, "local_date": at.date(), "local_time": at.time(), "utc_offset_minutes": 0, "zone": "UTC",
        "slot": Prompt.objects.filter(participant=person).count() + 1,
        "plan": SamplingPlan.objects.filter(study=person.study).latest("number"), **more,
    }  # fmt: skip
    return Prompt.objects.create(study=person.study, participant=person, **facts)


def event_of(prompt: Prompt, kind: str, at: datetime, *, by_phone: bool = True, **more: Any) -> PromptEvent:
    facts = {"phone_at": at if by_phone else None, "phone_text": "said" if by_phone else "", "received_at": at,
             "device": prompt.participant.devices.first() if by_phone else None, **more}  # fmt: skip
    return PromptEvent.objects.create(study=prompt.study, prompt=prompt, kind=kind, **facts)


def answer_to(prompt: Prompt, at: datetime | None, *, received: datetime | None = None, **more: Any) -> Submission:
    return Submission.objects.create(
        study=prompt.study, participant=prompt.participant, device=prompt.participant.devices.first(), client_id=uuid4(),
        digest="", survey_version=SurveyVersion.objects.get(study=prompt.study), prompt=prompt,
        answered_at=at, received_at=received or at, **{"payload": {"answers": {}}, **more},
    )  # fmt: skip


def counted(study: Study, *, cutoff: datetime = LATER, site: str = "") -> Counts:
    return compliance(study, cutoff=cutoff, site=site).overall


# What is a denominator ---------------------------------------------------------------------------------------------------


def test_what_was_scheduled_before_somebody_enrolled_is_not_theirs(study: Study) -> None:
    person = person_in(study, since=NINE + timedelta(microseconds=250_000))
    prompt_for(person, NINE - 2 * HOUR)
    prompt_for(person, NINE, rule="welcome")  # asked on enrolment: at the whole second
    assert counted(study).scheduled == 1


def test_nobody_without_a_device_misses_anything(study: Study) -> None:
    person = person_in(study)
    Device.objects.update(revoked_at=NINE + HOUR)
    phone_of(person, since=NINE + 5 * HOUR)
    for hours in (0, 2, 6):  # with the first phone, between the two, with the second
        prompt_for(person, NINE + hours * HOUR)
    assert counted(study).scheduled == 2
    answer_to(Prompt.objects.get(scheduled_at=NINE + 2 * HOUR), NINE + 2 * HOUR)
    assert counted(study).scheduled == 3  # whoever answers was asked


def test_practice_and_test_people_never_count(study: Study) -> None:
    prompt = prompt_for(person_in(study), practice=True)
    answer_to(prompt, NINE)
    answer_to(prompt_for(person_in(study, "TEST1", test_person=True)), NINE)
    assert compliance(study, cutoff=LATER) == Compliance(LATER, "")


def test_an_answer_by_an_event_button_is_no_prompts(study: Study) -> None:
    person = person_in(study)
    prompt_for(person)
    Submission.objects.create(
        study=study, participant=person, device=person.devices.get(), client_id=uuid4(), digest="", payload={"answers": {}},
        survey_version=SurveyVersion.objects.get(study=study), received_at=NINE,
    )  # fmt: skip
    assert (counted(study).scheduled, counted(study).started) == (1, 0)


def test_what_was_called_off_does_not_count_unless_it_was_answered_or_asked_for_again(study: Study) -> None:
    person = person_in(study)
    off, answered, again = (prompt_for(person, NINE + hours * HOUR) for hours in range(3))
    for prompt in (off, answered, again):
        event_of(prompt, "cancelled", NINE - MINUTE, by_phone=False, code="plan_changed")
    answer_to(answered, NINE + HOUR)
    event_of(again, "restored", NINE, by_phone=False)
    by_phone = prompt_for(person, NINE + 3 * HOUR)
    event_of(by_phone, "cancelled", NINE + 4 * HOUR)
    assert counted(study) == Counts(scheduled=3, sent=2, delivered=1, unknown=2, started=1, completed=1, in_time=1)


def test_whoever_withdrew_misses_nothing_afterwards_and_a_paused_study_asks_nothing(study: Study) -> None:
    person, other = person_in(study), person_in(study, "P2")
    for each in (person, other):
        for days in range(3):
            prompt_for(each, NINE + timedelta(days=days))
    withdraw_participant(participant=person, now=NINE + timedelta(hours=30), actor="server")
    assert counted(study).scheduled == 2 + 3
    study.quiet_since = NINE + timedelta(hours=12)
    study.save()
    assert counted(study).scheduled == 1 + 1


def test_a_site_sees_its_people_alone(study: Study) -> None:
    prompt_for(person_in(study, site="north"))
    prompt_for(person_in(study, "P2", site="south"))
    assert (counted(study).scheduled, counted(study, site="north").scheduled, counted(study, site="x").scheduled) == (
        2,
        1,
        0,
    )


def test_other_studies_are_not_counted(study: Study) -> None:
    prompt_for(person_in(study))
    answer_to(prompt_for(person_in(live_study())), NINE)
    assert counted(study) == Counts(scheduled=1, unknown=1)


def test_what_was_imported_counts_as_it_stands(study: Study) -> None:
    plan = SamplingPlan.objects.create(study=study, number=9, document={**SAMPLING, "imported": True}, digest="")
    person = person_in(study, since=LATER)
    Device.objects.update(revoked_at=LATER)
    answer_to(prompt_for(person, plan=plan), NINE + MINUTE, received=LATER)
    event_of(prompt_for(person, NINE + HOUR, plan=plan), "expired", NINE + 2 * HOUR, received_at=LATER)
    assert counted(study) == Counts(scheduled=2, sent=2, delivered=1, unknown=1, started=1, completed=1, in_time=1)


# What is known of a prompt -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], Counts(scheduled=1, unknown=1)),
        ([("queued", False)], Counts(scheduled=1, unknown=1)),
        ([("sent", False)], Counts(scheduled=1, sent=1, unknown=1)),
        ([("sent", False), ("undelivered", False)], Counts(scheduled=1, sent=1, undelivered=1)),
        ([("undelivered", False), ("sent", False)], Counts(scheduled=1, sent=1, unknown=1)),
        ([("expired", True)], Counts(scheduled=1, sent=1, unknown=1)),
        ([("expired", False)], Counts(scheduled=1, unknown=1)),
        ([("delivered", True)], Counts(scheduled=1, sent=1, delivered=1)),
        ([("undelivered", False), ("shown", True)], Counts(scheduled=1, sent=1, delivered=1)),
        ([("dismissed", True)], Counts(scheduled=1, sent=1, delivered=1)),
        ([("started", True)], Counts(scheduled=1, sent=1, delivered=1, started=1)),
        ([("completed", True)], Counts(scheduled=1, sent=1, delivered=1, started=1)),  # the answer has not arrived
    ],
)
def test_delivery_is_known_or_unknown_and_never_guessed(
    study: Study, said: list[tuple[str, bool]], expected: Counts
) -> None:
    prompt = prompt_for(person_in(study))
    for minutes, (kind, by_phone) in enumerate(said):
        event_of(prompt, kind, NINE + minutes * MINUTE, by_phone=by_phone)
    assert counted(study) == expected


def test_a_prompt_that_the_phone_refused_for_want_of_permission_was_not_delivered(study: Study) -> None:
    event_of(prompt_for(person_in(study)), "cancelled", NINE, code="no_permission")
    assert counted(study) == Counts(scheduled=1, sent=1, undelivered=1)


@pytest.mark.parametrize(
    ("minutes", "started", "in_time"),
    [(60, None, 1), (61, None, 0), (70, 60, 1), (70, 61, 0), (71, 30, 0)],
)
def test_the_grace_is_for_those_who_had_started(study: Study, minutes: int, started: int | None, in_time: int) -> None:
    prompt = prompt_for(person_in(study), grace_minutes=10)
    began = NINE + started * MINUTE if started else None
    payload = {"answers": {}, **({"started_at": began.isoformat()} if began else {})}
    answer_to(prompt, NINE + minutes * MINUTE, payload=payload)
    assert counted(study).in_time == in_time
    if began:
        Submission.objects.all().delete()
        answer_to(prompt, NINE + minutes * MINUTE)
        event_of(prompt, "started", began)
        assert counted(study).in_time == in_time


def test_an_answer_without_a_believable_clock_is_judged_by_when_it_was_received(study: Study) -> None:
    person = person_in(study)
    answer_to(prompt_for(person), None, received=NINE + HOUR)
    answer_to(prompt_for(person, NINE + HOUR), None, received=NINE + 3 * HOUR)
    assert (counted(study).completed, counted(study).in_time) == (2, 1)


def test_an_unfinished_answer_is_a_start(study: Study) -> None:
    answer_to(prompt_for(person_in(study)), NINE, complete=False)
    assert counted(study) == Counts(scheduled=1, sent=1, delivered=1, started=1)


def test_as_of_a_cutoff_nothing_is_known_that_came_later(study: Study) -> None:
    person = person_in(study)
    prompt = prompt_for(person)
    prompt_for(person, NINE + timedelta(days=2))
    answer_to(prompt, NINE + MINUTE, received=NINE + 5 * HOUR)
    assert counted(study, cutoff=NINE + HOUR) == Counts(scheduled=1, unknown=1)
    assert counted(study, cutoff=NINE + 5 * HOUR).completed == 1


# Rates -------------------------------------------------------------------------------------------------------------------


def test_a_rate_names_what_it_is_of_and_of_nothing_there_is_none() -> None:
    counts = Counts(
        scheduled=312, sent=300, delivered=280, unknown=20, undelivered=12, started=250, completed=240, in_time=230
    )
    rate = counts.rate("completed", "scheduled")
    assert rate == Rate("completed", "scheduled", 240, 312)
    assert rate.words == "completed: 240 of 312 scheduled while enrolled, not paused, with a device"
    assert rate.value == pytest.approx(0.769, abs=0.001)
    assert Counts().rate("completed", "delivered").value is None


# Anything could happen ---------------------------------------------------------------------------------------------------

CUTOFF = datetime(2026, 3, 9, 15, tzinfo=UTC)
KINDS = (*PromptEvent.Kind, "sent", "undelivered", "undelivered")
CODES = ("", "", "", "no_permission", "token_dead", "study_silent", "plan_changed")


def odd_study(seed: int) -> Study:
    """People in every state with phones that come and go, prompts of every kind, and whatever phones and pushes could say."""
    rng = random.Random(seed)
    study = live_study()
    version, plan = SurveyVersion.objects.get(study=study), SamplingPlan.objects.get(study=study)
    old = SamplingPlan.objects.create(study=study, number=2, document={**SAMPLING, "imported": True}, digest="")
    bye = {"key": "bye", "questionnaire": "momentary", "open_minutes": 60, "once": "withdrawal"}
    SamplingPlan.objects.create(
        study=study, number=3, document={**SAMPLING, "rules": [*SAMPLING["rules"], bye]}, digest=""
    )
    prompts, events, answers = [], [], []
    for number in range(10):
        steady = number < 2  # so that there is always something to count
        enrolled = NINE + timedelta(hours=-30 if steady else rng.choice([-30, 0, 20, 60, 400]), seconds=0.5)
        person = Participant.objects.create(
            study=study, pseudonym=f"P{number}", enrolled_at=None if number == 5 else enrolled, test_person=number == 7,
            state="active" if steady else rng.choice(["active"] * 6 + ["withdrawn", "erased", "paused"]),
            site=rng.choice(["north", "south"]) if number else "north",
        )  # fmt: skip
        for since in rng.sample([-20, 5, 30, 31, 60], 0 if steady else rng.choice([0, 1, 2])):
            Pause.objects.create(
                participant=person, since=NINE + since * HOUR, until=NINE + (since + rng.choice([0, 8, 40])) * HOUR
            )
        if person.state == "paused":
            Pause.objects.create(participant=person, since=NINE + 80 * HOUR)
        devices = [phone_of(person, since=NINE - 30 * HOUR)] if steady else []
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
            since = NINE + rng.choice([-30, 0, 20, 50]) * HOUR
            until = since + rng.choice([0, 10, 40]) * HOUR if rng.random() < 0.4 else None
            devices.append(phone_of(person, since=since, until=until))
        sender = devices[0] if devices else phone_of(person, since=CUTOFF, until=CUTOFF)
        for day in range(9):
            for slot, hour in enumerate((0, 9, 14, 23), start=1):
                local = datetime.combine(MONDAY + timedelta(days=day), time(hour, rng.randrange(60)), UTC)
                at = local - timedelta(hours=rng.choice([-5, 0, 9]))
                prompt = Prompt(
                    study=study, participant=person, plan=rng.choice([plan, plan, plan, old]), day=day + 1, slot=slot,
                    rule=rng.choice(["momentary", "extra", "bye"]), questionnaire=rng.choice(["momentary", "weekly"]),
                    scheduled_at=at, expires_at=at + HOUR, grace_minutes=rng.choice([0, 0, 15]), local_date=local.date(),
                    local_time=local.time(), utc_offset_minutes=0, zone="UTC", practice=rng.random() < 0.05,
                    wave=rng.choice(["", "w1"]),
                )  # fmt: skip
                prompts.append(prompt)
                for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
                    answered = at + rng.choice([-5, 1, 59, 60, 61, 70, 75, 76, 600]) * MINUTE
                    started = rng.choice(
                        [None, at + MINUTE, at + 60 * MINUTE, at + 61 * MINUTE, NINE - timedelta(days=9000)]
                    )
                    answers.append(Submission(
                        study=study, participant=person, device=sender, client_id=UUID(int=rng.getrandbits(128)), digest="",
                        survey_version=version, prompt=prompt, complete=rng.random() < 0.7,
                        payload={"answers": {}, **({"started_at": started.isoformat()} if started else {})},
                        answered_at=None if rng.random() < 0.2 else answered,
                        received_at=answered + rng.choice([0, 1, 1, 5000]) * MINUTE,
                    ))  # fmt: skip
                for _ in range(rng.choice([0, 1, 2, 3])):
                    said = at + rng.choice([-90, 0, 1, 1, 59, 61, 90]) * MINUTE
                    by_phone = rng.random() < 0.5
                    events.append(PromptEvent(
                        study=study, prompt=prompt, kind=rng.choice(KINDS), code=rng.choice(CODES),
                        device=sender if by_phone else None, phone_text="said" if by_phone else "", phone_at=said if by_phone and rng.random() < 0.8 else None,
                        received_at=said + rng.choice([0, 1, 5000]) * MINUTE,
                    ))  # fmt: skip
    Prompt.objects.bulk_create(prompts)
    PromptEvent.objects.bulk_create(events)
    Submission.objects.bulk_create(answers)
    return study


def told_once_more(study: Study, *, site: str) -> Compliance:
    """One prompt after the other, by simple rules; what is known of each says `prompt_state`."""
    cells: dict[str, dict[Any, list[int]]] = {name: defaultdict(lambda: [0] * 8) for name in ("overall", *GROUPINGS)}
    prompts = list(Prompt.objects.filter(study=study).select_related("participant", "plan"))
    stories = timelines(prompts)
    for prompt in prompts:
        person, imported = prompt.participant, bool(prompt.plan.document.get("imported"))
        story = [each for each in stories[prompt.pk] if each.told <= CUTOFF]
        answered = any(each.kind == "received" for each in story)
        if prompt.practice or prompt.scheduled_at > CUTOFF:
            continue
        if person.test_person or person.state == "erased" or (site and person.site != site):
            continue
        if person.enrolled_at is None or person.enrolled_at > CUTOFF:
            continue
        if not imported and prompt.scheduled_at < person.enrolled_at.replace(microsecond=0):
            continue
        has_device = imported or any(
            each.created_at.replace(microsecond=0) <= prompt.scheduled_at
            and (each.revoked_at is None or prompt.scheduled_at < each.revoked_at)
            for each in person.devices.all()
        )
        servers = [each for each in story if not each.by_phone]
        again = max((each.number for each in servers if each.kind == "restored"), default=0)
        called_off = any(each.kind == "cancelled" and each.number > again for each in servers)
        quiet = study.quiet_since is not None and prompt.scheduled_at >= study.quiet_since and prompt.rule != "bye"
        paused = any(
            each.since <= prompt.scheduled_at and (each.until is None or prompt.scheduled_at < each.until)
            for each in person.pauses.all()
        )
        if not answered and (not has_device or called_off or quiet or paused):
            continue
        state = state_of(prompt, story, now=CUTOFF)
        signs = state.delivered == "yes" or any(
            each.kind in ("sent", "reissued") or (each.kind in ("expired", "cancelled") and each.by_phone)
            for each in story
        )
        row = [1, signs, state.delivered == "yes", state.delivered == "no", state.delivered == "unknown", state.started,
               state.completed, state.in_time]  # fmt: skip
        keys = {
            "overall": "", "person": person.pseudonym, "day": prompt.day, "weekday": prompt.local_date.isoweekday(),
            "hour": prompt.local_time.hour, "wave": prompt.wave, "rule": (prompt.questionnaire, prompt.rule),
        }  # fmt: skip
        for name, key in keys.items():
            cells[name][key] = [a + b for a, b in zip(cells[name][key], row, strict=True)]
    made = {name: {key: Counts(*row) for key, row in sorted(each.items())} for name, each in cells.items()}
    return Compliance(CUTOFF, site, made.pop("overall").get("", Counts()), **made)


@pytest.mark.parametrize("seed", range(6))
def test_the_query_counts_what_plain_loops_count_cell_by_cell(seed: int) -> None:
    study = odd_study(seed)
    for quiet in (None, datetime(2026, 3, 7, tzinfo=UTC)):
        study.quiet_since = quiet
        study.save()
        for site in ("", "north"):
            ours, theirs = compliance(study, cutoff=CUTOFF, site=site), told_once_more(study, site=site)
            for name in ("overall", *GROUPINGS):
                assert getattr(ours, name) == getattr(theirs, name), name
            if not quiet and not site:
                assert all(getattr(ours.overall, each.name) for each in fields(Counts))


# The command -------------------------------------------------------------------------------------------------------------


def told(*words: str) -> str:
    out = StringIO()
    call_command("compliance", *words, stdout=out)
    return out.getvalue()


def test_the_command_names_its_denominators_and_nobody(study: Study) -> None:
    person = person_in(study)
    answer_to(prompt_for(person), NINE)
    prompt_for(person, NINE + timedelta(days=1))
    said = told(study.slug, "--as-of", LATER.isoformat())
    assert "completed: 1 of 2 scheduled while enrolled, not paused, with a device" in said
    assert [" ".join(line.split()) for line in said.splitlines() if "█" in line] == [
        "1 1 1 1 0 1 1 1 ████████████████████"
    ]
    assert "Monday" in told(study.slug, "--by", "weekday", "--as-of", LATER.isoformat())
    assert "momentary momentary" in told(study.slug, "--by", "rule", "--as-of", LATER.isoformat())
    found = json.loads(told(study.slug, "--json", "--as-of", LATER.isoformat()))
    assert found["overall"]["completed"] == 1
    assert [each["person"] for each in found["by_person"]] == ["P1"]
    assert "Nothing was due yet." in told(study.slug, "--as-of", "2026-01-01T00:00:00Z")


def test_the_command_says_what_it_would_take(study: Study) -> None:
    with pytest.raises(CommandError, match="is no time with an offset; write one like"):
        told(study.slug, "--as-of", "2026-03-15")
