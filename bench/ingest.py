"""What an upload costs beside what the database could take at best: `make bench-ingest`, or `python -m bench.ingest --rounds N`.

On a PostgreSQL of its own with the server's usual settings, and gunicorn as it is shipped with nothing before it. Floors and
endpoint alternate in one run, and each ratio is the median over the rounds: machines are busier at one moment than at another. A floor
writes a response as a row and its ten answers as ten rows, straight through psycopg; the endpoint does all that the
service does. Processor time is that of the web server's and the database's processes, from /proc; the load comes from a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import psycopg

from ema_server.embedded import attach

ROOT = Path(__file__).resolve().parents[1]
CLIENTS, PHONES, ANSWERS, BATCH = 8, 64, 10, 50
NAMES = [f"item_{n}" for n in range(ANSWERS)]
SURVEY = {
    "title": "Now",
    "items": [{"name": name, "type": "slider", "range": [0, 100], "text": f"{name}?"} for name in NAMES],
}
PLAN = {
    "rules": [
        {"key": "momentary", "questionnaire": "momentary", "open_minutes": 60, "times": ["10:00", "13:00", "16:00"]}
    ]
}
FLOOR = """
CREATE TABLE floor_response (id uuid PRIMARY KEY, person bigint NOT NULL, received_at timestamptz NOT NULL);
CREATE TABLE floor_answer (response uuid NOT NULL REFERENCES floor_response, name text NOT NULL, value float NOT NULL,
    PRIMARY KEY (response, name));
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement in a round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ema-bench-ingest-") as folder:
        var = Path(folder) / "var"
        with attach(var) as urls:
            os.environ.update(EMA_VAR=str(var), DATABASE_URL=urls.database, BROKER_URL=urls.broker, EMA_LOG="json")
            subprocess.run([sys.executable, "manage.py", "upgrade", "-v0"], cwd=ROOT, check=True)
            with psycopg.connect(urls.database, autocommit=True) as found:
                found.execute(FLOOR)
            phones = _phones()
            _run(var, urls.database, phones, rounds=options.rounds, seconds=options.seconds)
    return 0


def _run(var: Path, database: str, phones: list[Phone], *, rounds: int, seconds: float) -> None:
    print(f"load average before {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores")
    print(f"the disk allows {_commits(var):,.0f} commits a second (8 kB and fdatasync, one after the other)")
    with _server(var) as (port, pid):

        def posts(size: int, clients: int) -> Callable[[], Run]:
            return lambda: _load(port, pid, var, phones, size=size, clients=clients, seconds=seconds)

        _warm(posts)
        _compare(
            "single", rounds, lambda: _floor_rate(database, seconds, size=1, connections=CLIENTS), posts(1, CLIENTS), 1
        )
        one = lambda: _floor_rate(database, seconds, size=BATCH, connections=1)  # noqa: E731
        _compare("batch", rounds, one, posts(BATCH, CLIENTS), BATCH)
        _compare("batch, one client", rounds, one, posts(BATCH, 1), BATCH)
        ten = [posts(10, CLIENTS)() for _ in range(rounds)]
        took = sorted(each for run in ten for each in run.latencies)
        print(
            f"p95 of {CLIENTS} clients with batches of 10: {took[int(len(took) * 0.95)] * 1e3:.0f} ms ({len(took)} calls)"
        )
        unchanged = _load(port, pid, var, phones, size=0, clients=CLIENTS, seconds=seconds * rounds)
        print(f"304: {unchanged.cpu_ms:.2f} ms of processor a call ({unchanged.rate:,.0f} a second)")
    with _server(var, BROKER_URL="redis://127.0.0.1:1/0") as (port, pid):
        _warm(lambda size, clients: lambda: _load(port, pid, var, phones, size=size, clients=clients, seconds=seconds))
        dead = [posts(1, CLIENTS)() for _ in range(rounds)]
        rate, cost = median(run.rate for run in dead), median(run.cpu_ms for run in dead)
        print(f"single, broker and cache dead: {rate:,.0f} a second, {cost:.2f} ms of processor each")
    print(f"load average after {os.getloadavg()[0]:.2f}")


def _warm(posts: Callable[[int, int], Callable[[], Run]]) -> None:
    """Each worker has seen each phone: its first call in a process costs more."""
    for size in (1, 1, 1, 10, BATCH):
        posts(size, CLIENTS)()


def _compare(name: str, rounds: int, floor: Callable[[], float], ours: Callable[[], Run], size: int) -> None:
    floors, runs = [], []
    for _ in range(rounds):
        floors.append(floor())
        runs.append(ours())
    rates = [run.rate * size for run in runs]
    ratio = median(rate / each for rate, each in zip(rates, floors, strict=True))
    cost = median(run.cpu_ms for run in runs) / size
    web = median(run.web_ms for run in runs) / size
    print(
        f"{name}: {median(rates):,.0f} responses a second beside a floor of {median(floors):,.0f}, ratio {ratio:.2f}; "
        f"processor {cost:.2f} ms a response (web {web:.2f}, database {cost - web:.2f})",
        flush=True,
    )


# The service -----------------------------------------------------------------------------------------------------------


class Phone:
    """A phone's credential and some prompts of its person."""

    def __init__(self, token: str, prompts: list[str]) -> None:
        self.token, self.prompts = token, prompts


def _phones() -> list[Phone]:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ema_server.settings")
    django.setup()
    from django_scopes import scope

    from ema_server.participants.services import invite
    from ema_server.sampling.services import start_participation
    from ema_server.studies.models import Study
    from ema_server.studies.services import publish_sampling_plan, publish_survey

    now = datetime.now(UTC)
    first: date = now.date() - timedelta(days=7)
    study = Study.objects.create(
        slug="bench", title="Bench", starts_on=first, ends_on=first + timedelta(days=27), state="live"
    )
    phones = []
    with scope(study=study):
        publish_survey(study=study, questionnaire="momentary", document=SURVEY)
        publish_sampling_plan(study=study, document=PLAN)
        for number in range(PHONES):
            _, code = invite(study=study, pseudonym=f"P{number}", now=now, first_day=first)
            enrolment = start_participation(
                code=code, zone="Europe/Amsterdam", consent_version="1", consented_at=now, device={}, now=now
            )
            prompts = enrolment.participant.prompts.order_by("scheduled_at")[:40].values_list("pk", flat=True)
            phones.append(Phone(enrolment.token, [str(pk) for pk in prompts]))
    django.db.connections.close_all()
    return phones


@contextmanager
def _server(var: Path, **env: str) -> Iterator[tuple[int, int]]:
    """gunicorn with the shipped settings: its port and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with (var / "logs" / "bench-web.log").open("ab") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("gunicorn")), "--config", "python:ema_server.gunicorn", "ema_server.wsgi"],
            cwd=ROOT, env={**os.environ, "EMA_BIND": f"127.0.0.1:{port}", **env}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        give_up = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > give_up or process.poll() is not None:
                    raise
                time.sleep(0.1)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=40)


class Run:
    """What one measurement gave: calls a second, milliseconds of processor a call, seconds of each call."""

    def __init__(self, rate: float, web_ms: float, database_ms: float, latencies: list[float]) -> None:
        self.rate, self.web_ms, self.latencies = rate, web_ms, latencies
        self.cpu_ms = web_ms + database_ms


def _load(port: int, pid: int, var: Path, phones: list[Phone], *, size: int, clients: int, seconds: float) -> Run:
    """Clients call for some seconds, from a process of their own. Size 0 asks whether anything is new: `GET sync`."""
    ours, theirs = multiprocessing.get_context("fork").Pipe()
    child = multiprocessing.get_context("fork").Process(
        target=_clients, args=(theirs, port, phones, size, clients, seconds)
    )
    child.start()
    ours.recv()  # all is made ready
    postmaster = _postmaster(var)
    web, database = _cpu(pid), _cpu(postmaster)
    ours.send(None)
    took, latencies = ours.recv()
    time.sleep(0.1)  # what the database still does after it has answered
    web, database = _cpu(pid) - web, _cpu(postmaster) - database
    child.join()
    calls = len(latencies)
    return Run(calls / took, web / calls * 1e3, database / calls * 1e3, latencies)


def _clients(pipe: Any, port: int, phones: list[Phone], size: int, clients: int, seconds: float) -> None:
    most = int(seconds * (900 if size == 1 else 120 if size else 1500)) // clients + 8
    queues = [[_request(phones[(place * 7 + n) % PHONES], size) for n in range(most)] for place in range(clients)]
    etags: dict[str, str] = {}
    if size == 0:
        with socket.create_connection(("127.0.0.1", port)) as line:
            for phone in phones:
                etags[phone.token] = _etag(_asked(line, _sync(phone, "")))
        queues = [[_sync(phones[(place * 7 + n) % PHONES], etags[phones[(place * 7 + n) % PHONES].token]) for n in range(most)]
                  for place in range(clients)]  # fmt: skip
    pipe.send(None)
    pipe.recv()
    begin = time.perf_counter()

    def client(queue: list[bytes]) -> list[float]:
        taken = []
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for request in queue:
                start = time.perf_counter()
                if start - begin > seconds:
                    break
                answer = _asked(line, request)
                taken.append(time.perf_counter() - start)
                good = answer.startswith(b"HTTP/1.1 304") if size == 0 else answer.count(b'"stored"') == size
                if not good:
                    raise SystemExit(answer[:2000].decode(errors="replace"))
        return taken

    with ThreadPoolExecutor(clients) as pool:
        latencies = [each for taken in pool.map(client, queues) for each in taken]
    pipe.send((time.perf_counter() - begin, latencies))


def _asked(line: socket.socket, request: bytes) -> bytes:
    """One answer whole: all of ours say how long they are."""
    line.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = line.recv(65536)
        if not part:
            raise SystemExit("the server hung up")
        answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    length = next((int(each[15:]) for each in head.split(b"\r\n") if each.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += line.recv(65536)
    return head + b"\r\n\r\n" + body


def _request(phone: Phone, size: int) -> bytes:
    items = [
        {
            "client_id": str(uuid4()),
            "prompt": phone.prompts[n % len(phone.prompts)],
            "questionnaire": "momentary",
            "survey_version": 1,
            "answers": {name: (n * 7 + place) % 101 for place, name in enumerate(NAMES)},
            "answered_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "zone": "Europe/Amsterdam",
            "complete": True,
        }
        for n in range(size)
    ]
    body = json.dumps({"items": items}, separators=(",", ":")).encode()
    return (
        _head("POST", "submissions", phone, f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n") + body
    )


def _sync(phone: Phone, etag: str) -> bytes:
    return _head("GET", "sync", phone, f"If-None-Match: {etag}\r\n" if etag else "")


def _head(method: str, path: str, phone: Phone, more: str) -> bytes:
    return f"{method} /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {phone.token}\r\n{more}\r\n".encode()


def _etag(answer: bytes) -> str:
    return next(each[5:].strip().decode() for each in answer.split(b"\r\n") if each.lower().startswith(b"etag:"))


def _cpu(pid: int) -> float:
    """Seconds that a process and its children have computed, those that have ended included."""
    ticks = 0
    for each in [pid, *_children(pid)]:
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended since: its parent counts it
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _postmaster(var: Path) -> int:
    return next(int(file.read_text().split()[0]) for file in var.rglob("postmaster.pid"))


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# The floors ------------------------------------------------------------------------------------------------------------


def _floor_rate(database: str, seconds: float, *, size: int, connections: int) -> float:
    """Responses a second that psycopg writes as rows, from a process of its own."""
    ours, theirs = multiprocessing.get_context("fork").Pipe()
    child = multiprocessing.get_context("fork").Process(
        target=_floor, args=(theirs, database, seconds, size, connections)
    )
    child.start()
    rate: float = ours.recv()
    child.join()
    return rate


def _floor(pipe: Any, database: str, seconds: float, size: int, connections: int) -> None:
    lines = [psycopg.connect(database) for _ in range(connections)]
    begin = time.perf_counter()

    def write(line: psycopg.Connection[Any]) -> int:
        done = 0
        cursor = line.cursor()
        while time.perf_counter() - begin < seconds:
            ids: list[UUID] = [uuid4() for _ in range(size)]
            now = datetime.now(UTC)
            response = "INSERT INTO floor_response (id, person, received_at) VALUES (%s, %s, %s)"
            if size == 1:
                cursor.execute(response, (ids[0], 1, now))
            else:
                cursor.executemany(response, [(each, 1, now) for each in ids])
            cursor.executemany(
                "INSERT INTO floor_answer (response, name, value) VALUES (%s, %s, %s)",
                [(each, name, float(place)) for each in ids for place, name in enumerate(NAMES)],
            )
            line.commit()
            done += size
        return done

    with ThreadPoolExecutor(connections) as pool:
        done = sum(pool.map(write, lines))
    pipe.send(done / (time.perf_counter() - begin))


def _commits(var: Path, seconds: float = 2.0) -> float:
    """How often a second this disk makes 8 kB durable."""
    path, page = var / "bench-fsync", os.urandom(8192)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(descriptor, page * 64, 0)
        os.fsync(descriptor)
        begin, done = time.perf_counter(), 0
        while time.perf_counter() - begin < seconds:
            os.pwrite(descriptor, page, (done % 64) * 8192)
            os.fdatasync(descriptor)
            done += 1
        return done / (time.perf_counter() - begin)
    finally:
        os.close(descriptor)
        path.unlink()


if __name__ == "__main__":
    sys.exit(main())
