"""Handlers: run in the row's transaction or beside a heartbeat; what fails is kept in words that name nobody."""

from __future__ import annotations

import logging
import socket
import threading
import time
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from celery import Celery
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from ema_server.common.errors import DomainError
from ema_server.common.logs import SafeLine
from ema_server.ledger import outbox, queries, services, tasks
from ema_server.ledger.models import Job

SECRET = "ann@example.org"
SHORT = timedelta(seconds=0.4)


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers of one test, gone after it."""
    monkeypatch.setattr(outbox, "_handlers", {})
    monkeypatch.setattr(outbox, "_broker_back_at", 0.0)


def ask(kind: str, key: str = "a") -> Job:
    return services.ask_for(kind=kind, key=key, payload={})


def refuse(job: Job) -> None:
    raise ValueError(SECRET)


@pytest.mark.django_db
def test_a_sweep_does_all_that_is_due_on_its_queue_and_nothing_else() -> None:
    done: list[str] = []
    outbox.handles("letter", lambda job: done.append(job.key))
    outbox.handles("sum", lambda job: done.append(job.key), in_transaction=True)
    outbox.handles("elsewhere", lambda job: done.append(job.key), queue="analysis")
    for kind, key in (("letter", "a"), ("letter", "b"), ("sum", "c"), ("elsewhere", "d")):
        ask(kind, key)
    assert tasks.sweep("celery") == 3
    assert tasks.sweep("celery") == 0
    assert done == ["a", "c", "b"], "kinds take turns"


@pytest.mark.django_db
def test_one_that_fails_stops_no_other_and_its_error_names_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setFormatter(SafeLine())  # as a server writes its lines
    logging.getLogger("ema_server").addHandler(caplog.handler)
    outbox.handles("bad", refuse)
    outbox.handles("good", lambda job: None)
    ask("bad")
    ask("good")
    try:
        assert outbox.run_due(queue="celery") == 1
    finally:
        logging.getLogger("ema_server").removeHandler(caplog.handler)
    job = Job.objects.get(kind="bad")
    assert job.last_error.startswith("ValueError at tests/server/ledger/test_running.py:")
    assert job.last_error.endswith("in refuse")
    assert "bad a failed at attempt 1 exception=builtins.ValueError at=" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.django_db
def test_our_own_errors_keep_their_sentence() -> None:
    def forbid(job: Job) -> None:
        raise DomainError("The study has ended.")

    outbox.handles("bad", forbid)
    ask("bad")
    outbox.run_due(queue="celery")
    assert Job.objects.get().last_error == "DomainError: The study has ended."


@pytest.mark.django_db
def test_an_effect_in_the_rows_transaction_goes_when_the_handler_fails() -> None:
    def half(job: Job) -> None:
        ask("other")
        raise RuntimeError

    outbox.handles("half", half, in_transaction=True)
    ask("half")
    outbox.run_due(queue="celery")
    assert not Job.objects.filter(kind="other").exists()
    assert Job.objects.get().last_error.startswith("RuntimeError at")


@pytest.mark.django_db(transaction=True)
def test_a_heartbeat_keeps_work_that_takes_longer_than_its_lease() -> None:
    outbox.handles("long", lambda job: time.sleep(4 * SHORT.total_seconds()), lease=SHORT)
    ask("long")
    stolen: list[Job | None] = []

    def thief() -> None:
        try:
            for _ in range(12):
                time.sleep(SHORT.total_seconds() / 4)
                stolen.append(services.claim(kind="long"))
        finally:
            connection.close()

    thread = threading.Thread(target=thief)
    thread.start()
    assert outbox.run_next(kind="long") is not None
    thread.join()
    assert stolen == [None] * 12
    assert Job.objects.get().attempts == 1


@pytest.mark.django_db(transaction=True)
def test_work_that_hangs_is_kept_no_longer_than_it_may_take() -> None:
    outbox.handles("hangs", lambda job: time.sleep(1.5), lease=SHORT, at_most=timedelta(seconds=0.2))
    ask("hangs")
    taken: list[Job | None] = []

    def next_worker() -> None:
        try:
            time.sleep(1.0)
            taken.append(services.claim(kind="hangs"))
        finally:
            connection.close()

    thread = threading.Thread(target=next_worker)
    thread.start()
    with pytest.raises(outbox.LeaseLost):
        outbox.run_next(kind="hangs")
    thread.join()
    (job,) = taken
    assert job is not None
    assert services.finish(job)


@pytest.mark.django_db(transaction=True)
def test_work_that_was_taken_over_has_no_effect_of_the_slow_worker() -> None:
    def slow(job: Job) -> None:
        ask("effect", "by the slow one")

    outbox.handles("sum", slow, in_transaction=True, lease=timedelta(0))
    ask("sum")
    job = services.claim(kind="sum", lease=timedelta(0))
    assert job is not None
    assert services.claim(kind="sum") is not None  # another worker
    with pytest.raises(outbox.LeaseLost):
        outbox._do(outbox.handler_of("sum"), job)
    assert not Job.objects.filter(kind="effect").exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["refuses", "hangs"])
def test_asking_works_and_is_quick_while_the_broker_is_away(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox.handles("letter", lambda job: None)
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        address = "127.0.0.1:1" if how == "refuses" else f"127.0.0.1:{hangs.getsockname()[1]}"
        away = Celery("away", broker=f"redis://{address}/0", set_as_current=False)
        away.conf.broker_transport_options = {**settings.CELERY_BROKER_TRANSPORT_OPTIONS, "socket_timeout": 0.5}
        monkeypatch.setattr(outbox, "current_app", away)
        started = time.monotonic()
        for key in "abc":
            with transaction.atomic():
                ask("letter", key)
                outbox.ring("letter")
        assert time.monotonic() - started < 5
    assert outbox.run_due(queue="celery") == 3


@pytest.mark.django_db(transaction=True)
def test_a_fact_that_is_rolled_back_rings_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    monkeypatch.setattr(outbox, "_wake", rung.append)
    outbox.handles("letter", lambda job: None)
    with transaction.atomic():
        ask("letter")
        outbox.ring("letter")
        transaction.set_rollback(True)
    assert (rung, Job.objects.count()) == ([], 0)
    with transaction.atomic():
        outbox.ring("letter")
        assert rung == []
    assert rung == ["celery"]


def test_a_kind_has_one_handler_and_a_ring_needs_one() -> None:
    outbox.handles("letter", refuse)
    outbox.handles("letter", refuse)
    with pytest.raises(ValueError, match="is handled by"):
        outbox.handles("letter", print)
    with pytest.raises(LookupError, match=r"registered: letter\); call outbox.handles"):
        outbox.ring("parcel")


def listed(*arguments: str) -> str:
    out = StringIO()
    call_command("outbox", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_the_command_shows_what_is_not_done_and_opens_a_dead_letter_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Nothing waits" in listed()
    outbox.handles("bad", refuse, max_attempts=1)
    outbox.handles("good", lambda job: None)
    dead = ask("bad", "first")
    outbox.run_due(queue="celery")
    ask("good", "second")
    services.claim(kind="good")
    ask("unknown", "third")
    lines = listed().splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["dead", "running", "waiting"]
    assert "bad first  (1 attempt; ValueError at tests/" in lines[0]
    assert "good second  (attempt 1 on " in lines[1]
    assert "unknown third  (no handler in this version)" in lines[2]
    assert [row.job.key for row in queries.standings()] == ["first", "second", "third"]

    with pytest.raises(CommandError, match="no dead letter 'second'; there are: first"):
        listed("--retry", "second")
    assert "bad first is due now." in listed("--retry", "first")
    dead.refresh_from_db()
    assert (dead.dead_at, dead.attempts, dead.last_error) == (None, 0, "")


@pytest.mark.django_db
def test_a_key_of_two_kinds_needs_the_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"max_attempts": 1}
    for kind in ("bad", "worse"):
        outbox.handles(kind, refuse, **options)
        ask(kind)
    outbox.run_due(queue="celery")
    with pytest.raises(CommandError, match="add --kind with one of: bad, worse"):
        listed("--retry", "a")
    assert "worse a is due now." in listed("--retry", "a", "--kind", "worse")
