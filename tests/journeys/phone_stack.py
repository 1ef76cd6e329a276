"""A database and real web servers for whoever speaks the phone API from outside: the conformance kit, the guide's snippets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ema_server.embedded.stack import free_port
from tests.journeys.test_outage import Postgres

ROOT = Path(__file__).resolve().parents[2]
CAST = """
import datetime, json
from django_scopes import scopes_disabled
from ema_server.common import clock
from tests.journeys.phone_stack import SURVEY
from tests.world import invite, live_study
today = clock.now().date()
day = datetime.timedelta(days=1)
with scopes_disabled():
    codes = {}
    for slug in SLUGS:
        study = live_study(slug=slug, survey=SURVEY)
        study.starts_on, study.ends_on = today - 7 * day, today + 21 * day
        study.save()
        codes[slug] = [
            invite(study=study, pseudonym=f"P{number}", now=clock.now(), first_day=today, last_day=today + 9 * day)[1]
            for number in range(1, 9)
        ]
print("CAST " + json.dumps(codes))
"""
SURVEY: dict[str, Any] = {
    "title": {"en": "Right now", "nl": "Op dit moment"},
    "languages": ["en", "nl"],
    "pages": [{"key": "mood", "order": "random"}],
    "items": [
        {"name": "hello", "type": "information", "text": {"en": "Hello", "nl": "Hallo"}},
        {"name": "stress", "type": "slider", "range": [0, 100], "page": "mood", "text": {"en": "Stress?", "nl": "Stress?"}},
        {"name": "calm", "type": "likert", "range": [1, 7], "page": "mood", "text": {"en": "Calm?", "nl": "Rustig?"}},
        {"name": "steps", "type": "number", "range": [0, 10], "step": 0.25, "text": {"en": "Miles?", "nl": "Mijlen?"}},
        {"name": "slept", "type": "duration", "text": {"en": "Slept?", "nl": "Geslapen?"}},
        {"name": "alone", "type": "yesno", "text": {"en": "Alone?", "nl": "Alleen?"}},
        {"name": "company", "type": "choice", "options": ["nobody", "friends"], "text": {"en": "Who?", "nl": "Wie?"}},
        {"name": "places", "type": "choices", "at_least": 2, "text": {"en": "Where?", "nl": "Waar?"},
         "options": ["home", "work", "out", {"value": "none", "label": {"en": "none", "nl": "geen"}, "exclusive": True}]},
        {"name": "words", "type": "text", "max_length": 60, "text": {"en": "Words?", "nl": "Woorden?"}},
        {"name": "woke", "type": "time", "text": {"en": "Woke?", "nl": "Wakker?"}},
        {"name": "since", "type": "date", "range": ["2026-01-01", "2026-12-31"], "text": {"en": "Since?", "nl": "Sinds?"}},
        {"name": "photo", "type": "media", "kind": "photo", "required": False, "text": {"en": "Photo", "nl": "Foto"}},
        {"name": "pleasant", "type": "likert", "range": [1, 7], "required": False, "show_if": "company != \"nobody\"",
         "text": {"en": "Pleasant?", "nl": "Prettig?"}},
    ],
}  # fmt: skip


@dataclass
class PhoneStack:
    """One database with some studies; `served` starts a web server on it. `codes` are enrolment codes by study."""

    url: str
    var: Path
    codes: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment = {
            **os.environ,
            "DATABASE_URL": self.url,
            "EMA_VAR": str(self.var),
            "DJANGO_SETTINGS_MODULE": "ema_server.settings",
        }
        self.environment.pop("KEYS_DATABASE_URL", None)

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def cast(self, *slugs: str) -> None:
        program = CAST.replace("SLUGS", repr(slugs))
        self.codes |= json.loads(self.manage("shell", "--verbosity", "0", "-c", program).split("CAST ")[1])

    @contextmanager
    def served(self, application: str = "ema_server.wsgi") -> Iterator[str]:
        """A real gunicorn; gives its address."""
        port = free_port()
        log = (self.var.parent / f"web-{port}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", "python:ema_server.gunicorn", application],
            cwd=ROOT,
            env={**self.environment, "EMA_BIND": f"127.0.0.1:{port}"},
            stdout=log,
            stderr=log,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(address)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=40)
            log.close()


@contextmanager
def phone_stack(folder: Path, *slugs: str) -> Iterator[PhoneStack]:
    postgres = Postgres(folder / "own")
    try:
        stack = PhoneStack(postgres.url, folder / "web")
        stack.manage("upgrade", "--verbosity", "0")
        stack.cast(*slugs)
        yield stack
    finally:
        postgres.stop()


def _wait(address: str) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=10):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError("the web server did not start")
