"""The main job, end to end: phones over HTTP → a night in a real worker → the report that a researcher reads.

Real PostgreSQL, real Valkey, a real Celery worker in a process of its own; only the number of people is smaller.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from ema_server.accounts.models import User
from ema_server.common import clock
from ema_server.demo import services, support_stress
from ema_server.demo.replay import replay
from ema_server.ledger import outbox
from ema_server.ledger import services as ledger
from ema_server.ledger.models import Job
from ema_server.reports import queries
from ema_server.reports.models import Report
from ema_server.reports.services import NIGHT, ask_for_night
from ema_server.studies.models import Study
from ema_server.studies.services import lock_data

ROOT = Path(__file__).resolve().parents[2]
PEOPLE = 14
PATIENCE = 120.0  # seconds, for a worker that compiles its kernels first on a cold and busy machine

pytestmark = pytest.mark.django_db(transaction=True)


def start_worker() -> subprocess.Popen[bytes]:
    """A solo worker on the analysis queue, on this test's database."""
    address = urlsplit(os.environ["DATABASE_URL"])
    url = urlunsplit(address._replace(path="/" + connection.settings_dict["NAME"]))
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "ema_server",
            "worker",
            "-Q",
            "analysis",
            "--pool=solo",
            "-l",
            "WARNING",
        ],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "ema_server.settings"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    process = start_worker()
    yield process
    process.terminate()
    process.wait(timeout=20)


@pytest.fixture
def study(live_server: Any) -> Study:
    """The simulated study with a few people, answered over HTTP and locked."""
    whole = support_stress.study()
    demo = dataclasses.replace(whole, people=whole.people[:PEOPLE])
    researcher = User.objects.create_user("owner@example.org", "correct horse battery")
    invited = services.set_up(demo, researcher=researcher, now=clock.now())
    receipts = replay(demo.slug, invited, address=live_server.url)
    assert receipts["stored"] > 700
    assert receipts["duplicate"] > 0
    assert (receipts["conflict"], receipts["rejected"]) == (5, 5)
    study = Study.objects.get(slug=demo.slug)
    lock_data(study=study, now=clock.now())
    return study


def wait_for(job: Job) -> Job:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        job.refresh_from_db()
        if job.done_at or job.last_error:
            return job
        time.sleep(0.1)
    raise AssertionError(f"the night was not done in {PATIENCE:.0f} s: {job.progress!r}")


def test_phones_to_report(study: Study, worker: subprocess.Popen[bytes]) -> None:
    night = clock.now().date()
    job = ask_for_night(study=study, night=night)
    outbox.ring(NIGHT)
    assert wait_for(job).last_error == ""
    report = queries.latest_report(study)
    assert report is not None

    (model,) = report.results["models"]
    used = model["n_rows"]
    assert model["n_persons"] == PEOPLE
    assert 700 < used < PEOPLE * 14 * 6
    by_term = {row["term"]: row for row in model["fixed"]}
    truth = support_stress.TRUTH
    for term, value in (("within(support)", truth.within), ("between(support)", truth.between)):
        assert abs(by_term[term]["estimate"] - value) < 4 * by_term[term]["se"]

    client = Client()
    address = f"/studies/{study.slug}/report/"
    assert client.get(address).status_code == 302  # a stranger is sent to log in
    assert (
        client.post("/login/", {"username": "owner@example.org", "password": "correct horse battery"}).status_code
        == 302
    )
    page = client.get(address).content.decode()
    for words in (
        model["within"]["sentence"],
        model["between"]["sentence"],
        report.data_hash,
        report.plan_hash,
        "SIMULATED",
    ):
        assert words in page

    stranger = Client()
    User.objects.create_user("stranger@example.org", "correct horse battery")
    stranger.post("/login/", {"username": "stranger@example.org", "password": "correct horse battery"})
    assert stranger.get(address).status_code == 404  # another's study answers like a missing one


def test_a_worker_killed_in_the_night_costs_nothing_but_time(study: Study) -> None:
    job = ask_for_night(study=study, night=clock.now().date())
    first = start_worker()
    outbox.ring(NIGHT)
    give_up = time.monotonic() + PATIENCE
    while job.leased_until is None and time.monotonic() < give_up:
        time.sleep(0.01)
        job.refresh_from_db()
    first.send_signal(signal.SIGKILL)
    first.wait()
    job.refresh_from_db()
    assert job.leased_until is not None
    assert job.done_at is None, "the kill must hit a night that is being worked on"
    assert Report.objects.count() == 0

    Job.objects.update(leased_until=clock.now() - ledger.LEASE - timedelta(seconds=1))  # the lease runs out
    second = start_worker()
    try:
        outbox.ring(NIGHT)
        wait_for(job)
    finally:
        second.terminate()
        second.wait(timeout=20)
    assert job.attempts == 2
    assert Report.objects.count() == 1


def test_settings_here_are_the_real_ones() -> None:
    assert connection.vendor == "postgresql"
    assert settings.CELERY_BROKER_URL.startswith("redis://")
