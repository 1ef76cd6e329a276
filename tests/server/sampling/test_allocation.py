"""Whoever enrols without an arm comes into one, in balanced blocks, each site for itself."""

from __future__ import annotations

import threading
from collections import Counter
from itertools import product
from typing import Any

import pytest
from django.db import connection

from ema_server.ledger.models import AuditEvent
from ema_server.participants.models import Participant
from ema_server.participants.services import invite, open_study_code
from ema_server.sampling.allocation import SIZES, arm_at
from ema_server.sampling.models import Planning, Prompt
from ema_server.studies.models import Study
from ema_server.studies.services import publish_sampling_plan
from tests.world import MONDAY, NOW, SAMPLING, FakePhone, live_study

RATIOS = {"treatment": 2, "control": 1}
EVEN = {"a": 1, "b": 1}
RULE = SAMPLING["rules"][0]


def sequence(length: int, *, ratios: dict[str, int] = RATIOS, site: str = "", secret: bytes = b"s") -> list[str]:
    return [arm_at(ratios, secret=secret, site=site, position=place) for place in range(length)]


def blocks(drawn: list[str], ratios: dict[str, int]) -> list[tuple[str, ...]]:
    """The shortest stretches, of at least the smallest block each, that hold the arms by their ratios."""
    found, block = [], list[str]()
    for arm in drawn:
        block.append(arm)
        size = len(block) / sum(ratios.values())
        if size >= SIZES[0] and Counter(block) == {arm: size * ratio for arm, ratio in ratios.items()}:
            found.append(tuple(block))
            block = []
    return found


def test_the_arms_are_by_their_ratios_again_and_again_and_never_far_from_them() -> None:
    drawn = sequence(1200)
    assert len(blocks(drawn, RATIOS)) >= 1200 // (3 * SIZES[-1]) - 1
    apart = [2 * drawn[:at].count("control") - drawn[:at].count("treatment") for at in range(1201)]
    assert -2 * SIZES[-1] <= min(apart) < 0 < max(apart) <= 2 * SIZES[-1]


def test_blocks_have_different_sizes_so_that_whoever_knows_the_arms_so_far_cannot_be_sure_of_the_next() -> None:
    """In blocks of four alone, a third of all arms follow for sure: after two alike the others are known."""
    after_two = Counter(
        each[2] for secret in range(900) if (each := sequence(3, ratios=EVEN, secret=b"%d" % secret))[:2] == ["a", "a"]
    )
    assert set(after_two) == {"a", "b"}


def test_every_size_and_in_it_every_order_is_as_likely_as_any_other() -> None:
    """The first four places: of blocks of 4, 6 and 8 each arm begins as often, and a first block of 4 is even in a third."""
    orders = Counter(tuple(sequence(4, ratios=EVEN, secret=str(each).encode())) for each in range(6000))
    even = {order: count for order, count in orders.items() if order.count("a") == 2}
    # How likely an order of two each is: of a block of 4, 1/6; of 6, 2/20; of 8, 6/70.
    likely = (1 / 6 + 2 / 20 + 6 / 70) / 3
    assert len(even) == 6
    assert all(abs(count - 6000 * likely) < 4 * (6000 * likely * (1 - likely)) ** 0.5 for count in even.values())


def test_sites_and_studies_have_sequences_of_their_own_and_each_is_the_same_for_ever() -> None:
    drawn = {tuple(sequence(60, site=site, secret=secret)) for site, secret in product(("", "Leiden"), (b"s", b"t"))}
    assert len(drawn) == 4
    assert sequence(6) == sequence(6, ratios=dict(reversed(RATIOS.items())))
    assert "".join(arm[0] for arm in sequence(12, site="Leiden")) == "tttctttccctt"


@pytest.fixture
def study() -> Study:
    study = live_study()
    study.structure = {
        "arms": [{"key": "treatment"}, {"key": "control"}],
        "sites": [{"key": "Leiden"}, {"key": "Delft"}],
    }
    study.save()
    rules = [
        {**RULE, "key": arm, "arms": [arm], "times": [at]} for arm, at in (("treatment", "10:00"), ("control", "11:00"))
    ]
    publish_sampling_plan(study=study, document={"allocation": {"arms": RATIOS}, "rules": rules})
    return study


def enrol(study: Study, pseudonym: str, **more: Any) -> Participant:
    _, code = invite(study=study, pseudonym=pseudonym, now=NOW, first_day=MONDAY, last_day=MONDAY, **more)
    phone = FakePhone(study)
    assert phone.call("POST", "enrolments", phone.enrolment(code)).status_code == 201
    return Participant.objects.get(study=study, pseudonym=pseudonym)


@pytest.mark.django_db
def test_who_enrols_is_allocated_site_by_site_and_asked_as_their_arm_says(study: Study) -> None:
    people = [enrol(study, f"P{place}", site="Leiden" if place % 2 else "Delft") for place in range(12)]
    for site in ("Leiden", "Delft"):
        drawn = [person.arm for person in people if person.site == site]
        assert drawn == sequence(6, site=site, secret=bytes(study.secret))
    for person in people:
        assert {prompt.rule for prompt in Prompt.objects.filter(participant=person)} == {person.arm}
        assert Planning.objects.get(participant=person).facts["arm"] == person.arm
    events = AuditEvent.objects.filter(action="participant.allocated")
    assert [event.changes for event in events] == [{"sampling_plan": 2}] * 12  # and not which arm


@pytest.mark.django_db
def test_who_has_an_arm_keeps_it_and_test_people_take_no_place(study: Study) -> None:
    assert enrol(study, "P1", site="Leiden", arm="control").arm == "control"
    assert enrol(study, "T1", site="Leiden", test_person=True).arm == ""
    assert enrol(study, "P2", site="Leiden").arm == sequence(1, site="Leiden", secret=bytes(study.secret))[0]
    assert AuditEvent.objects.filter(action="participant.allocated").count() == 1


@pytest.mark.django_db
def test_a_second_phone_allocates_nobody_again_and_other_ratios_begin_anew(study: Study) -> None:
    first = enrol(study, "P1", site="Leiden")
    _, code = invite(study=study, pseudonym="P2", now=NOW, site="Leiden", first_day=MONDAY, last_day=MONDAY)
    phone = FakePhone(study)
    phone.call("POST", "enrolments", phone.enrolment(code))
    arms = list(Participant.objects.order_by("pk").values_list("arm", flat=True))
    assert arms == sequence(2, site="Leiden", secret=bytes(study.secret))
    assert first.arm == arms[0]
    even = {"treatment": 1, "control": 1}
    document = study.sampling_plans.order_by("-number")[0].document
    publish_sampling_plan(study=study, document={**document, "allocation": {"arms": even}})
    people = [enrol(study, f"Q{place}", site="Leiden").arm for place in range(4)]
    assert people == sequence(4, ratios=even, site="Leiden", secret=bytes(study.secret))


@pytest.mark.django_db(transaction=True)
def test_phones_that_enrol_at_the_same_moment_get_places_of_their_own(study: Study) -> None:
    study.structure = {**study.structure, "sites": []}
    study.save()
    code = open_study_code(study=study, max_uses=12, now=NOW)
    statuses: list[int] = []

    def one() -> None:
        phone = FakePhone(study)
        statuses.append(phone.call("POST", "enrolments", phone.enrolment(code)).status_code)
        connection.close()

    threads = [threading.Thread(target=one) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * 12
    arms = sequence(12, secret=bytes(study.secret))
    assert Counter(Participant.objects.values_list("arm", flat=True)) == Counter(arms)
    places = [facts["allocation"]["position"] for facts in Planning.objects.values_list("facts", flat=True)]
    assert sorted(places) == list(range(12))
