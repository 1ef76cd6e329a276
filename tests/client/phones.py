"""A phone with a clock that does not run and a sleep that is only noted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from random import Random
from uuid import NAMESPACE_URL, uuid5

import httpx

from ema_client import Client, Store, Submission
from tests.client.fake_server import FakeServer

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Slept(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def phone_of(
    server: FakeServer, store: Store | Path | str = ":memory:", *, batch: int = 10, slept: Slept | None = None
) -> Client:
    http = httpx.Client(base_url="http://fake", transport=server.transport())
    kept = store if isinstance(store, Store) else Store(store)
    sleep = Slept() if slept is None else slept
    return Client("http://fake", kept, http=http, batch=batch, now=lambda: NOW, sleep=sleep, rng=Random(1), tries=4)


def enrolled(
    server: FakeServer, store: Store | Path | str = ":memory:", *, batch: int = 10, slept: Slept | None = None
) -> Client:
    phone = phone_of(server, store, batch=batch, slept=slept)
    consent = phone.preview("CODE").consent
    phone.enrol("CODE", zone="Europe/Amsterdam", agreed_at=NOW.isoformat(), consent=consent)
    return phone


def answer(number: int, stress: float = 30) -> Submission:
    return Submission(
        client_id=str(uuid5(NAMESPACE_URL, f"answer {number}")),
        questionnaire="momentary",
        survey_version=1,
        answers={"stress": stress},
        answered_at=NOW.isoformat(),
    )
