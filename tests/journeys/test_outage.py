"""PostgreSQL stopped under a real web server: everybody is told "later", and is served again soon after it is back."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ema_server.embedded.attach import Folder
from ema_server.embedded.stack import free_port
from ema_server.embedded.supervisor import _make_cluster, _make_database, _start_postgres, _wait

ROOT = Path(__file__).resolve().parents[2]
BACK_WITHIN = 10.0  # seconds
CAST = """
import json
from django.test import Client
from django_scopes import scopes_disabled
from tests.world import NOW, invite, live_study, researcher
with scopes_disabled():
    user = researcher()
    study = live_study(user)
    _, code = invite(study=study, pseudonym="P1", now=NOW, first_day=study.starts_on, last_day=study.ends_on)
client = Client()
client.force_login(user)
print("CAST " + json.dumps({"code": code, "session": client.cookies["sessionid"].value}))
"""


class Postgres:
    """A cluster of this test's own, stopped and started as an operator would."""

    def __init__(self, var: Path) -> None:
        self.folder, self.port = Folder(var), free_port()
        self.folder.logs.mkdir(parents=True)
        _make_cluster(self.folder, "secret")
        self.url = f"postgresql://ema:secret@127.0.0.1:{self.port}/ema"
        self.start()

    def start(self) -> None:
        self.process = _start_postgres(self.folder, self.port)
        _wait(self.process, self.folder.logs / "postgres.log", lambda: _make_database(self.url))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)


@dataclass
class Web:
    port: int
    token: str = ""
    session: str = ""

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, str], str]:
        to = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Content-Type": "application/json", "Cookie": f"sessionid={self.session}"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            to.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = to.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
        finally:
            to.close()


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    found = Postgres(tmp_path / "own")
    yield found
    if found.process.poll() is None:
        found.stop()


@pytest.fixture
def web(postgres: Postgres, tmp_path: Path) -> Iterator[Web]:
    port = free_port()
    environment = {
        **os.environ,
        "DATABASE_URL": postgres.url,
        "EMA_VAR": str(tmp_path / "web"),
        "DJANGO_SETTINGS_MODULE": "ema_server.settings",
        "EMA_BIND": f"127.0.0.1:{port}",
    }
    environment.pop("KEYS_DATABASE_URL", None)

    def manage(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    manage("upgrade", "--verbosity", "0")
    cast = json.loads(manage("shell", "--verbosity", "0", "-c", CAST).split("CAST ")[1])
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--config", "python:ema_server.gunicorn", "ema_server.wsgi"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    found = Web(port, session=cast["session"])
    give_up = time.monotonic() + 30
    while True:
        try:
            if found.ask("GET", "/readyz")[0] == 200:
                break
        except OSError:
            pass
        assert time.monotonic() < give_up
        time.sleep(0.1)
    enrolment = {
        "code": cast["code"],
        "zone": "Europe/Amsterdam",
        "consent": {"version": "1", "given_at": "2026-03-01T09:00:00+01:00"},
    }
    status, _, body = found.ask("POST", "/api/v1/enrolments", enrolment)
    assert status == 201, body
    found.token = json.loads(body)["token"]
    yield found
    process.terminate()
    assert process.wait(timeout=40) == 0


def calls(web: Web) -> dict[str, tuple[int, dict[str, str], str]]:
    item = {
        "client_id": str(uuid4()),
        "prompt": None,
        "questionnaire": "momentary",
        "survey_version": 1,
        "answers": {"support": 60, "stress": 30},
        "answered_at": "2026-03-02T11:00:00+01:00",
    }
    return {
        "sync": web.ask("GET", "/api/v1/sync"),
        "submissions": web.ask("POST", "/api/v1/submissions", {"items": [item]}),
        "home": web.ask("GET", "/"),
        "login": web.ask("GET", "/login/"),
        "ready": web.ask("GET", "/readyz"),
    }


def test_an_outage_is_503_everywhere_and_over_soon_after_the_database_is_back(postgres: Postgres, web: Web) -> None:
    for _ in range(12):  # every thread of every process holds a connection that will be stale
        before = calls(web)
        assert {name: answer[0] for name, answer in before.items()} == dict.fromkeys(before, 200)
    postgres.stop()
    for _ in range(6):
        for name, (status, headers, body) in calls(web).items():
            if name == "login":  # asks the database for nothing unless it looks at the session
                assert status in (200, 503)
                continue
            assert status == 503, (name, body)
            if name != "ready":
                assert headers["retry-after"] == "10"
            if name in ("sync", "submissions"):
                assert json.loads(body)["code"] == "unavailable"
            assert "127.0.0.1" not in body
    assert web.ask("GET", "/livez")[0] == 200
    postgres.start()
    back = time.monotonic()
    while {answer[0] for answer in calls(web).values()} != {200}:
        assert time.monotonic() - back < BACK_WITHIN
        time.sleep(0.1)
    for _ in range(12):
        assert {answer[0] for answer in calls(web).values()} == {200}
