"""Required work: asked for once, done once, kept through crashes."""

from __future__ import annotations

from datetime import timedelta

import pytest

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
    assert job.last_error == "ValueError: no"
    assert services.claim(kind="night", now=moment + timedelta(days=1)) is None


def test_work_that_is_not_due_waits() -> None:
    services.ask_for(kind="night", key="later", payload={}, due_at=NOW + timedelta(hours=1))
    assert services.claim(kind="night", now=NOW) is None
