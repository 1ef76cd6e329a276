"""A phone, as the server sees it: enrols with a code, syncs, and uploads what it kept while it was offline.

It speaks the public API alone and is the shortest honest client of it: batches, one receipt for each item, the same
batch again when an answer got lost on the way, patience when the server is away.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import httpx

BATCH = 40
EVENTS_BATCH = 400
TRIES = 6


class ServerRefused(Exception):
    """The server said no in a way that trying again does not mend."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A questionnaire that was filled in, on the prompt of this day and slot."""

    day: int
    slot: int
    answers: dict[str, Any]
    answered_at: str
    complete: bool = True
    name: str = ""  # tells apart two answers to one prompt
    same_id_as: str | None = None  # an app that sends other content under a used id


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the phone saw happen to a prompt."""

    day: int
    slot: int
    kind: str
    at: str
    reason: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """From then on the phone was in another zone."""

    zone: str
    since: str


Happening = Answer | Event | Move


@dataclass
class Phone:
    """One person's phone. `receipts` counts what the server said of each item."""

    http: httpx.Client
    study: str
    code: str
    zone: str
    consented_at: str
    rng: Random
    token: str = ""
    pseudonym: str = ""
    survey: dict[str, Any] = field(default_factory=dict)
    receipts: Counter[str] = field(default_factory=Counter)

    def enrol(self) -> None:
        body = {
            "code": self.code,
            "zone": self.zone,
            "consent": {"version": "1", "given_at": self.consented_at},
            "device": {"platform": "replay", "app_version": "1.0"},
        }
        answer = self._call("POST", "enrolments", body)
        self.token, self.pseudonym = answer["token"], answer["participant"]

    def sync(self) -> list[dict[str, Any]]:
        """The prompts that wait for an outcome, in order of time."""
        content = self._call("GET", "sync")
        self.survey = content["surveys"][0]
        prompts: list[dict[str, Any]] = content["prompts"]
        return prompts

    def upload(self, happenings: Sequence[Happening], prompts: Sequence[dict[str, Any]]) -> None:
        """Send all of it, as a phone does that was offline: some batches twice, not always in order."""
        ids = {(prompt["day"], prompt["slot"]): prompt["id"] for prompt in prompts}
        for move in (each for each in happenings if isinstance(each, Move)):
            self._call("PUT", "device", {"zone": move.zone, "zone_since": move.since})
        items = [self._item(each, ids) for each in happenings if isinstance(each, Answer)]
        batches = list(_batches(items, BATCH))
        if self.rng.random() < 0.3:
            self.rng.shuffle(batches)
        for batch in batches:
            self._send("submissions", "items", batch)
            if self.rng.random() < 0.15:  # the answer got lost on the way: the phone cannot know, and sends it again
                self._send("submissions", "items", batch)
        events = [self._event(each, ids) for each in happenings if isinstance(each, Event)]
        for batch in _batches(events, EVENTS_BATCH):
            self._send("prompt-events", "events", batch)

    def _item(self, answer: Answer, ids: dict[tuple[int, int], str]) -> dict[str, Any]:
        return {
            "client_id": self._id(
                "answer", answer.day, answer.slot, answer.name if answer.same_id_as is None else answer.same_id_as
            ),
            "prompt": ids[answer.day, answer.slot],
            "questionnaire": self.survey["questionnaire"],
            "survey_version": self.survey["version"],
            "answers": answer.answers,
            "answered_at": answer.answered_at,
            "zone": self.zone,
            "complete": answer.complete,
        }

    def _event(self, event: Event, ids: dict[tuple[int, int], str]) -> dict[str, Any]:
        return {
            "id": self._id(event.kind, event.day, event.slot, event.name),
            "prompt": ids[event.day, event.slot],
            "kind": event.kind,
            "at": event.at,
            "reason": event.reason,
        }

    def _id(self, *parts: object) -> str:
        """A UUID that a retry of the same content uses again."""
        return str(uuid5(_namespace(self.study), "|".join(map(str, (self.pseudonym, *parts)))))

    def _send(self, path: str, name: str, batch: list[dict[str, Any]]) -> None:
        answer = self._call("POST", path, {name: batch})
        if path == "submissions":
            self.receipts.update(receipt["status"] for receipt in answer["receipts"])

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request; an outage (503, a cut connection) is waited out, a refusal is not."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        for attempt in range(TRIES):
            try:
                answer = self.http.request(method, f"/api/v1/{path}", json=body, headers=headers)
            except httpx.TransportError:
                time.sleep(0.2 * 2**attempt)
                continue
            if answer.status_code == 503:
                time.sleep(min(float(answer.headers.get("Retry-After", 1)), 2.0))
                continue
            if answer.is_error:
                raise ServerRefused(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
            content: dict[str, Any] = answer.json()
            return content
        raise ServerRefused(f"{method} {path}: no answer after {TRIES} tries")


def _namespace(study: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"ema-server:demo:{study}")


def _batches(things: Sequence[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(things), size):
        yield list(things[start : start + size])
