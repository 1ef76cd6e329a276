"""The whole server as an operator starts it, proxy included: slow and oversize bodies, stopping, forged headers."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections

from ema_server.celery import app
from ema_server.embedded.stack import free_port
from ema_server.ledger import tasks
from tests.world import FakePhone, live_study

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
SLOW_SENDERS = 64
HONEST = 60
P95 = 1.0  # seconds, while the slow ones drip

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[bytes]
    port: int
    var: Path
    url: str

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        to = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            to.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = to.getresponse()
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            to.close()

    def part(self, *words: str) -> psutil.Process:
        """The process whose command line has all these words, and whose parent is the stack."""
        found = [child for child in psutil.Process(self.process.pid).children() if set(words) <= set(child.cmdline())]
        assert len(found) == 1, [child.cmdline() for child in found]
        return found[0]


def url_of(alias: str) -> str:
    address = urlsplit(os.environ["DATABASE_URL"])
    return urlunsplit(address._replace(path="/" + connections[alias].settings_dict["NAME"]))


def eventually(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def start(var: Path) -> Running:
    port = free_port()
    keys = ",".join(f"{number}:{base64.b64encode(key).decode()}" for number, key in settings.MASTER_KEYS.items())
    environment = {
        **os.environ,
        "DATABASE_URL": url_of("default"),
        "KEYS_DATABASE_URL": url_of("keys"),
        "EMA_VAR": str(var),
        "EMA_MASTER_KEY": keys,
        "EMA_SECRET_KEY": settings.SECRET_KEY,
        "EMA_LOG": "json",
    }
    process = subprocess.Popen(
        [sys.executable, "manage.py", "stack", "--port", str(port)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    running = Running(process, port, var, environment["DATABASE_URL"])

    def serves() -> bool:
        assert process.poll() is None, "the stack has ended"
        try:
            return running.ask("GET", "/livez")[0] == 200
        except OSError:
            return False

    eventually(serves)
    return running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None) -> Iterator[Running]:
    app.control.purge()
    running = start(tmp_path_factory.mktemp("stack") / "var")
    yield running
    if running.process.poll() is None:
        running.process.terminate()
        running.process.wait(timeout=60)


@pytest.fixture
def phone() -> FakePhone:
    return FakePhone(live_study()).enrolled()


def batch(phone: FakePhone, prompt: int = 0) -> bytes:
    return json.dumps({"items": [phone.item(prompt)]}).encode()


def test_honest_phones_are_served_while_many_others_drip(stack: Running, phone: FakePhone) -> None:
    head = (
        f"POST /api/v1/submissions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {phone.token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"
    ).encode()
    with ExitStack() as held:
        slow = [held.enter_context(socket.create_connection(("127.0.0.1", stack.port))) for _ in range(SLOW_SENDERS)]
        for each in slow:
            each.sendall(head)
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.2):
                for each in slow:
                    each.sendall(b" ")

        dripping = threading.Thread(target=drip)
        dripping.start()
        seconds = []
        for number in range(HONEST):
            began = time.perf_counter()
            status, body, _ = stack.ask(
                "POST", "/api/v1/submissions", batch(phone, number % 4), Authorization=f"Bearer {phone.token}"
            )
            seconds.append(time.perf_counter() - began)
            assert status == 200, body
        stop.set()
        dripping.join()
    p95 = statistics.quantiles(seconds, n=20)[-1]
    print(f"p95 {p95 * 1000:.0f} ms with {SLOW_SENDERS} slow senders")
    assert p95 < P95


@pytest.mark.parametrize("megabytes", [5.5, 7])
def test_a_body_that_is_too_large_gets_a_413_that_the_phone_receives(
    stack: Running, phone: FakePhone, megabytes: float
) -> None:
    body = b" " * int(megabytes * 1024 * 1024)
    for _ in range(20):
        status, answer, headers = stack.ask(
            "POST", "/api/v1/submissions", body, Authorization=f"Bearer {phone.token}", Content_Type="application/json"
        )
        assert status == 413
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(answer)["code"] == "too_large"
        assert json.loads(answer)["limit_bytes"] == settings.DATA_UPLOAD_MAX_MEMORY_SIZE


@pytest.mark.parametrize("megabytes", [7, 12])
@pytest.mark.parametrize("says_its_length", [True, False])
def test_the_end_of_a_large_body_is_never_taken_for_another_request(
    stack: Running, megabytes: int, says_its_length: bool
) -> None:
    hidden = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    body = b"1" * (6 * 1024 * 1024) + b"\r\n\r\n" + hidden * ((megabytes - 6) * 1024 * 1024 // len(hidden))
    length = f"Content-Length: {len(body)}" if says_its_length else "Transfer-Encoding: chunked"
    head = f"POST /login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n{length}\r\n\r\n".encode()
    sent = body if says_its_length else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    heard = bytearray()
    with socket.create_connection(("127.0.0.1", stack.port), timeout=1) as to:

        def listen() -> None:
            try:
                while part := to.recv(65536):
                    heard.extend(part)
            except OSError:
                pass  # nothing more comes

        listening = threading.Thread(target=listen)
        listening.start()
        with suppress(OSError):  # refused before its end
            to.sendall(head + sent)
        listening.join()
    assert heard.count(b"HTTP/1.1 ") == 1
    assert b"alive" not in heard


def test_what_is_for_operators_is_not_there_from_outside(stack: Running) -> None:
    for path in ("/metrics", "/readyz", "/metrics/", "//metrics", "/%6detrics", "/x/../metrics"):
        status, body, _ = stack.ask("GET", path, X_Forwarded_For="127.0.0.1")
        assert status in (301, 308, 404), path
        assert b"ema_" not in body
    assert stack.ask("GET", "/livez")[0] == 200


def test_web_counts_over_all_its_processes(stack: Running, phone: FakePhone) -> None:
    web = next(
        int(word.split(":")[1]) for word in stack.part("gunicorn", "--bind").cmdline() if word.startswith("127.0.0.1:")
    )

    def counted() -> float:
        inside = http.client.HTTPConnection("127.0.0.1", web, timeout=10)
        inside.request("GET", "/metrics")
        lines = inside.getresponse().read().decode().splitlines()
        inside.close()
        return float(
            next(
                line.split()[-1]
                for line in lines
                if line.startswith('ema_intake_items_total{kind="submission",receipt="stored"}')
            )
        )

    before = counted()
    for prompt in range(4):
        assert (
            stack.ask("POST", "/api/v1/submissions", batch(phone, prompt), Authorization=f"Bearer {phone.token}")[0]
            == 200
        )
    assert [counted() - before for _ in range(8)] == [4.0] * 8, "another process answers another number"


def test_its_log_names_routes_and_nothing_that_was_sent(stack: Running, phone: FakePhone) -> None:
    stack.ask(
        "POST",
        "/api/v1/submissions?Planted-7Q",
        b'{"items": [{"client_id": "Planted-7Q"}]}',
        Authorization=f"Bearer {phone.token}",
    )
    stack.ask("GET", "/Planted-7Q", X_Request_ID="Planted-7Q", Cookie="sessionid=Planted-7Q")
    stack.ask("GET", "/Planted-7Q", Host="planted-7q.example.org")
    logs = {path.name: path.read_text() for path in (stack.var / "logs").glob("*.log")}
    assert {"proxy.log", "web.log", "worker.log", "analysis.log", "beat.log"} <= set(logs)
    assert not [name for name, text in logs.items() if "planted-7q" in text.lower()]
    assert '"route": "submissions"' in logs["web.log"]


def waiting(watch: psycopg.Connection[Any], table: str) -> bool:
    query = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = to_regclass(%s)"
    return watch.execute(query, [table]).fetchone() is not None


def test_asked_to_stop_it_finishes_what_it_has_begun_and_leaves_nothing(stack: Running, phone: FakePhone) -> None:
    """The last test: a request and a task are under way, each held up by a lock, when the whole server gets SIGTERM."""
    answers: list[int] = []
    children = psutil.Process(stack.process.pid).children(recursive=True)
    assert len(children) >= 7

    def send() -> None:
        status, _, _ = stack.ask("POST", "/api/v1/submissions", batch(phone), Authorization=f"Bearer {phone.token}")
        answers.append(status)

    with psycopg.connect(stack.url, autocommit=True) as watch, psycopg.connect(stack.url) as busy:
        busy.execute("LOCK TABLE responses_upload, ledger_job IN ACCESS EXCLUSIVE MODE")
        sending = threading.Thread(target=send)
        sending.start()
        tasks.sweep.apply_async(args=["analysis"], queue="analysis")
        eventually(lambda: waiting(watch, "responses_upload") and waiting(watch, "ledger_job"))
        stack.process.terminate()
        time.sleep(1)
        assert stack.process.poll() is None
        assert not answers
        busy.rollback()
    sending.join(timeout=30)
    assert answers == [200]
    assert stack.process.wait(timeout=60) == 0
    assert not [each for each in children if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    assert '"message": "task done"' in (stack.var / "logs" / "analysis.log").read_text()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM responses_submission")
        assert cursor.fetchone() == (1,)
