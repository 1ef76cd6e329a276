"""The intake against a dictionary: whatever phones and study teams do, in any order, receipts and rows are the model's.

A bounded number of examples here, the same in every run; `make prove ONLY=intake` looks at more.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connections, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from ema_server.responses import fast_intake, services
from ema_server.responses.content import merge
from ema_server.responses.models import Conflict, Quarantined, Submission, Upload
from tests.server.responses import intake_machine
from tests.server.responses.intake_machine import FAULTS, STEPS, IntakeMachine, World, canonical
from tests.world import FakePhone, live_study

EXAMPLES = int(os.environ.get("INTAKE_EXAMPLES", "30"))
SEED = int(os.environ.get("INTAKE_SEED", "1"))
STEPS_EACH = 30
Sent = tuple[int, list[bytes]]  # by which phone, and the items
QUIET = settings(
    database=None,
    deadline=None,
    stateful_step_count=STEPS_EACH,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
    report_multiple_bugs=False,
)

pytestmark = pytest.mark.django_db


def run(of: World, *, examples: int, shrink: bool = True) -> None:
    machine = seed(SEED)(type("IntakeMachineHere", (IntakeMachine,), {"world": of}))
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    run_state_machine_as_test(machine, settings=settings(QUIET, max_examples=examples, phases=phases))


@pytest.mark.timeout(60 + EXAMPLES * 5)
def test_whatever_happens_in_whatever_order_receipts_and_rows_are_the_models() -> None:
    STEPS.clear()
    run(World.made(), examples=EXAMPLES)
    print(f"\n{STEPS.total()} steps: {dict(STEPS)}")
    if counted := os.environ.get("INTAKE_COUNTS"):
        Path(counted).write_text(json.dumps(STEPS))


# The machine finds what is wrong

Record = Callable[..., list[services.Receipt]]
honest: Record = services.record_submissions


def answers_a_conflict_as_a_duplicate(**call: Any) -> list[services.Receipt]:
    receipts = honest(**call)
    Conflict.objects.all().delete()
    return [services.Receipt(each.client_id, "duplicate") if each.status == "conflict" else each for each in receipts]


def stores_a_retry_again(**call: Any) -> list[services.Receipt]:
    receipts = honest(**call)
    for each in receipts:
        if each.status == "duplicate":
            row = Submission.objects.get(study=call["device"].study, client_id=each.client_id)
            words = row.sealed
            row.pk, row.client_id, row.sealed = None, uuid4(), words
            Submission.objects.bulk_create([row])
    return receipts


def takes_a_closed_phone_for_an_open_one(**call: Any) -> list[services.Receipt]:
    call["device"].revoked_at, call["device"].closed_because = None, ""
    return honest(**call)


def forgets_what_it_refused(**call: Any) -> list[services.Receipt]:
    receipts = honest(**call)
    Quarantined.objects.all().delete()
    return receipts


def miscounts_an_upload(**call: Any) -> list[services.Receipt]:
    receipts = honest(**call)
    Upload.objects.filter(duplicate__gt=0).update(duplicate=0)
    return receipts


@pytest.mark.parametrize(
    "planted",
    [
        answers_a_conflict_as_a_duplicate,
        stores_a_retry_again,
        takes_a_closed_phone_for_an_open_one,
        forgets_what_it_refused,
        miscounts_an_upload,
    ],
)
def test_a_planted_fault_is_found(planted: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.made()
    monkeypatch.setattr(services, "record_submissions", planted)
    monkeypatch.setattr(fast_intake, "record", lambda **call: None)  # the quick way leads into the long one
    with pytest.raises(AssertionError):
        run(world, examples=60, shrink=False)


# The order of uploads


@st.composite
def in_two_orders(draw: st.DrawFn) -> tuple[list[Sent], list[Sent]]:
    """Uploads of three phones, and the same in another order, the items within each as well. Nobody takes another's ids:
    whose an id is depends on who comes first, which is no fault."""
    sent = []
    for phone in draw(st.lists(st.integers(0, 2), min_size=2, max_size=5)):
        parts = []
        for spec in draw(intake_machine.batches):
            item = {
                "client_id": str(UUID(int=1000 * phone + spec.id, version=4)),
                "prompt": None,
                "questionnaire": "momentary",
                "survey_version": 1,
                "answers": {"support": spec.content, "stress": 50},
                "answered_at": "2026-03-02T11:00:00+01:00",
                **FAULTS.get(spec.fault, {}),
            }
            parts.append(json.dumps(item).encode())
        sent.append((phone, parts))
    other = [(phone, draw(st.permutations(parts))) for phone, parts in draw(st.permutations(sent))]
    return sent, other


def final_state(phones: list[FakePhone], sent: list[Sent]) -> list[Any]:
    """What is there after these uploads, whichever of two contents came first; all of it is undone."""
    with transaction.atomic(), transaction.atomic(using="keys"):
        for phone, parts in sent:
            answer = phones[phone].call("POST", "submissions", raw=b'{"items": [' + b",".join(parts) + b"]}")
            assert answer.status_code == 200
        contents: dict[Any, set[str]] = {}
        for row in Submission.objects.select_related("participant"):
            at = row.study_id, row.participant_id, row.client_id
            contents.setdefault(at, set()).add(canonical(merge(row.payload, row.sealed)))
        for row in Conflict.objects.select_related("submission__participant"):
            of = row.submission
            at = of.study_id, of.participant_id, of.client_id
            contents[at].add(canonical(merge(row.payload, row.sealed)))
        quarantined = sorted((row.device_id, row.body, row.code) for row in Quarantined.objects.all())
        counts = Upload.objects.aggregate(*(Sum(each) for each in ("stored", "duplicate", "conflict", "rejected")))
        known = counts.pop("duplicate__sum") or 0
        counts["known"] = known + (
            counts.pop("conflict__sum") or 0
        )  # the first of two contents is seen more or less often
        transaction.set_rollback(True)
        transaction.set_rollback(True, using="keys")
    return [contents, quarantined, counts]


def test_the_same_uploads_in_another_order_end_in_the_same_state() -> None:
    world = World.made()

    @seed(SEED)
    @settings(QUIET, max_examples=EXAMPLES)
    @given(in_two_orders())
    def check(orders: tuple[list[Sent], list[Sent]]) -> None:
        one, other = orders
        assert final_state(world.phones, one) == final_state(world.phones, other)

    check()


# At once


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """All of them in threads that wait for each other."""
    together = Barrier(len(calls))

    def run_one(call: Callable[[], Any]) -> Any:
        try:
            together.wait()
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run_one, calls))


@pytest.mark.django_db(transaction=True)
def test_at_once_one_id_is_stored_once_and_two_people_with_each_others_ids_are_both_served() -> None:
    study = live_study()
    phone, other = (FakePhone(study, pseudonym=name).enrolled() for name in ("P1", "P2"))

    items = [phone.item(n, answers={"support": n, "stress": 1}) for n in range(4)]
    changed = {**items[0], "answers": {"support": 99, "stress": 1}}
    batches = [
        [item, *items[1:]] if n % 2 else [*items[:0:-1], item]
        for n in range(16)
        for item in [items[0], changed][n // 8 : n // 8 + 1]
    ]
    receipts = [each for got in at_once([partial(phone.submit, *batch) for batch in batches]) for each in got]
    statuses = Counter(each["status"] for each in receipts)
    assert (Submission.objects.count(), Conflict.objects.count()) == (4, 1)
    assert statuses == {"stored": 4, "duplicate": 52, "conflict": 8}

    for _ in range(5):  # in opposite order
        mine = [phone.item(n) for n in range(12)]
        theirs = [{**item, "prompt": None} for item in reversed(mine)]
        senders = [
            partial(who.call, "POST", "submissions", {"items": batch})
            for who, batch in ((phone, mine), (other, theirs))
        ]
        answers = at_once(senders * 2)
        assert [answer.status_code for answer in answers] == [200] * 4
        of = {each["client_id"]: set() for each in mine}
        for answer, whose in zip(answers, (1, 2, 1, 2), strict=True):
            for each in answer.json()["receipts"]:
                if each["status"] in ("stored", "duplicate"):
                    of[each["client_id"]].add(whose)
                else:
                    assert each["code"] == "client_id_taken"
        assert all(len(whose) == 1 for whose in of.values())
