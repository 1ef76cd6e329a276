"""The demo's phones: what happened in a person's life, told to the server by the reference client (`ema_client`).

What is of the demo alone is small: ids that come out alike in every run, a network that loses some answers on their way back,
and one app that was restored from a backup and uses an id again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import httpx

from ema_client import Client, Prompt, PromptEvent, Store, Submission, Sync

BATCH = 40
LOST = 0.15  # of the answers to an upload never reach the phone, which therefore sends the batch again
SHUFFLED = 0.3  # of the phones send their batches in another order
LONGEST_WAIT = 2.0  # seconds; nobody wants to watch a demo wait


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
    """One person's phone. `receipts` counts what the server said of each item, heard or not."""

    http: httpx.BaseTransport
    address: str
    study: str
    code: str
    zone: str
    consented_at: str
    rng: Random
    wait: Callable[[float], None]
    pseudonym: str = ""
    receipts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._client = self._installed()

    def _installed(self) -> Client:
        """An app with nothing in it yet."""
        network = Network(self.http, self.rng, self.receipts)
        return Client(
            self.address,
            Store(":memory:"),
            http=httpx.Client(base_url=self.address, transport=network, timeout=30.0),
            batch=BATCH,
            sleep=lambda seconds: self.wait(min(seconds, LONGEST_WAIT)),
            rng=self.rng,
        )

    def enrol(self) -> None:
        consent = self._client.preview(self.code).consent
        self.pseudonym = self._client.enrol(
            self.code,
            zone=self.zone,
            agreed_at=self.consented_at,
            consent=consent,
            device={"platform": "replay", "app_version": "1.0"},
        )

    def sync(self) -> Sync:
        """The prompts that wait for an outcome, in order of time, and the questionnaire."""
        return self._client.sync()

    def upload(self, happenings: Sequence[Happening], sync: Sync) -> None:
        """Send all of it, as a phone does that was offline: some batches twice, not always in order."""
        prompts = {(prompt.day, prompt.slot): prompt for prompt in sync.prompts}
        for move in (each for each in happenings if isinstance(each, Move)):
            self._client.change_device(zone=move.zone, zone_since=move.since)
        answers = [each for each in happenings if isinstance(each, Answer)]
        batches = list(_batches([each for each in answers if each.same_id_as is None], BATCH))
        if self.rng.random() < SHUFFLED:
            self.rng.shuffle(batches)
        for answer in (each for batch in batches for each in batch):
            self._client.keep(self._submission(answer, prompts))
        for event in (each for each in happenings if isinstance(each, Event)):
            self._client.keep_event(self._event(event, prompts))
        self._client.upload()
        self._restored([each for each in answers if each.same_id_as is not None], prompts)

    def _restored(self, again: Sequence[Answer], prompts: dict[tuple[int, int], Prompt]) -> None:
        """The app came back from a backup: it has its credential, knows nothing of what it sent, and uses an id again."""
        if not again:
            return
        app = self._installed()
        app.store.note({"token": self._client.token})
        for answer in again:
            app.keep(self._submission(answer, prompts))
        app.upload()

    def _submission(self, answer: Answer, prompts: dict[tuple[int, int], Prompt]) -> Submission:
        prompt = prompts[answer.day, answer.slot]
        name = answer.name if answer.same_id_as is None else answer.same_id_as
        return Submission(
            client_id=self._id("answer", answer.day, answer.slot, name),
            prompt=prompt.id,
            questionnaire=prompt.questionnaire,
            survey_version=prompt.survey_version,
            answers=answer.answers,
            answered_at=answer.answered_at,
            zone=self.zone,
            complete=answer.complete,
        )

    def _event(self, event: Event, prompts: dict[tuple[int, int], Prompt]) -> PromptEvent:
        return PromptEvent(
            id=self._id(event.kind, event.day, event.slot, event.name),
            prompt=prompts[event.day, event.slot].id,
            kind=event.kind,
            at=event.at,
            reason=event.reason,
        )

    def _id(self, *parts: object) -> str:
        """A UUID that comes out alike in every run."""
        return str(uuid5(_namespace(self.study), "|".join(map(str, (self.pseudonym, *parts)))))


class Network(httpx.BaseTransport):
    """Loses some answers to uploads after the server has given them: the phone cannot know, and sends the batch again."""

    def __init__(self, real: httpx.BaseTransport, rng: Random, receipts: Counter[str]) -> None:
        self._real, self._rng, self._receipts = real, rng, receipts

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._real.handle_request(request)
        if request.url.path.endswith("/submissions") and answer.status_code == 200:
            said = json.loads(answer.read())
            self._receipts.update(receipt["status"] for receipt in said["receipts"])
            if self._rng.random() < LOST:
                raise httpx.ReadError("lost on its way", request=request)
        return answer


def _namespace(study: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"ema-server:demo:{study}")


def _batches(things: Sequence[Answer], size: int) -> Iterator[list[Answer]]:
    for start in range(0, len(things), size):
        yield list(things[start : start + size])
