"""Required work: asked for once, done once, kept through crashes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from ema_server.ledger import services
from ema_server.ledger.models import Job
from tests.world import NOW

pytestmark = pytest.mark.django_db


def ask(key: str = "a", **more: bool) -> Job:
    return services.ask_for(kind="night", key=key, payload={}, due_at=NOW, **more)


def test_the_same_work_asked_for_twice_is_one_row() -> None:
    assert ask().pk == ask().pk


def test_a_claimed_row_is_nobody_elses_until_its_lease_ends() -> None:
    ask()
    assert services.claim(kind="night", now=NOW) is not None
    assert services.claim(kind="night", now=NOW) is None
    taken_over = services.claim(kind="night", now=NOW + services.LEASE + timedelta(seconds=1))
    assert taken_over is not None
    assert taken_over.attempts == 2


def test_what_is_done_stays_done_unless_asked_again() -> None:
    job = ask()
    services.finish(job, now=NOW)
    ask()
    assert services.claim(kind="night", now=NOW) is None
    ask(again=True)
    assert services.claim(kind="night", now=NOW) is not None


def test_failed_work_waits_longer_each_time_and_then_for_a_person() -> None:
    ask()
    moment, waits = NOW, []
    for _ in range(services.MAX_ATTEMPTS):
        job = services.claim(kind="night", now=moment)
        assert job is not None
        services.fail(job, ValueError("no"), now=moment)
        job.refresh_from_db()
        waits.append(job.due_at - moment)
        moment = job.due_at
    assert waits == sorted(waits)
    assert job.dead_at is not None
    assert job.last_error == "ValueError at an unknown place"
    assert services.claim(kind="night", now=moment + timedelta(days=1)) is None


def test_a_worker_that_lost_its_lease_writes_nothing() -> None:
    ask()
    slow = services.claim(kind="night", now=NOW)
    later = NOW + services.LEASE + timedelta(seconds=1)
    quick = services.claim(kind="night", now=later)
    assert slow is not None
    assert quick is not None
    assert not services.finish(slow, now=later)
    assert not services.fail(slow, ValueError("no"), now=later)
    assert not services.renew(slow, now=later)
    assert not services.take_hold(slow)
    services.note_progress(slow, "still at it")
    row = Job.objects.get()
    assert (row.done_at, row.last_error, row.progress, row.leased_until) == (None, "", "", later + services.LEASE)
    assert services.finish(quick, now=later)


def test_a_claim_from_before_the_work_was_asked_for_again_is_not_taken_for_the_new_one() -> None:
    ask()
    stale = services.claim(kind="night", now=NOW)
    later = NOW + services.LEASE + timedelta(seconds=1)
    second = services.claim(kind="night", now=later)
    assert stale is not None
    assert second is not None
    services.finish(second, now=later)
    ask(again=True)
    third = services.claim(kind="night", now=later + timedelta(days=1))
    assert third is not None
    assert third.attempts == stale.attempts == 1
    assert not services.finish(stale)
    assert services.finish(third)


def test_work_whose_worker_dies_at_every_attempt_ends_as_a_dead_letter() -> None:
    ask()
    moment = NOW
    for _ in range(services.MAX_ATTEMPTS):
        assert services.claim(kind="night", now=moment) is not None
        moment += services.LEASE + timedelta(seconds=1)
    assert services.claim(kind="night", now=moment) is None
    job = Job.objects.get()
    assert job.dead_at == moment
    assert job.last_error == "The worker died 5 times in 5 attempts."
    services.retry(job)
    assert services.claim(kind="night") is not None


def test_a_buried_row_does_not_hide_the_one_behind_it() -> None:
    ask()
    Job.objects.update(attempts=services.MAX_ATTEMPTS, leased_until=NOW - timedelta(seconds=1))
    ask("b")
    claimed = services.claim(kind="night", now=NOW)
    assert claimed is not None
    assert claimed.key == "b"
    assert Job.objects.get(key="a").last_error == "The worker died 1 time in 5 attempts."


def test_waits_double_up_to_an_hour_and_are_spread_by_chance() -> None:
    waits = {attempts: [services.wait_after(attempts) for _ in range(50)] for attempts in (1, 2, 3, 30, 30_000)}
    assert len(set(waits[1])) > 40
    assert all(timedelta(seconds=45) <= wait <= timedelta(seconds=60) for wait in waits[1])
    assert max(waits[1]) <= min(waits[2])
    assert max(waits[2]) <= min(waits[3])
    assert all(timedelta(minutes=45) <= wait <= timedelta(hours=1) for wait in waits[30] + waits[30_000])


@pytest.mark.parametrize("hours", [-30, 30])
def test_a_worker_whose_clock_is_wrong_neither_steals_work_nor_leaves_it_lying(
    hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.utils.timezone.now", lambda: datetime.now(UTC) + timedelta(hours=hours))
    services.ask_for(kind="night", key="a", payload={})
    job = services.claim(kind="night")
    assert job is not None, "work that is due is found"
    assert services.claim(kind="night") is None, "work that is leased is not stolen"
    assert services.renew(job)
    job.refresh_from_db()
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        (truth,) = cursor.fetchone()
    assert job.leased_until is not None
    assert timedelta(0) < job.leased_until - truth <= services.LEASE
    services.fail(job, ValueError())
    assert services.claim(kind="night") is None
    job.refresh_from_db()
    assert timedelta(0) < job.due_at - truth <= timedelta(minutes=2)


def test_work_that_is_not_due_waits() -> None:
    services.ask_for(kind="night", key="later", payload={}, due_at=NOW + timedelta(hours=1))
    assert services.claim(kind="night", now=NOW) is None
