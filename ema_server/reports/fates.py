"""What became of a prompt, from what phones sent for it: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

USED = ("answered", "late")

STATUSES = {
    "answered": "answered within its window",
    "late": "answered after its window, and counted",
    "too_late": "answered later than the plan counts",
    "expired": "expired without an answer",
    "expired_with_answers": "expired with unfinished answers",
    "cancelled": "called off",
    "cancelled_with_answers": "called off with unfinished answers",
    "no_record": "nothing is known of it",
}


class Sent(NamedTuple):
    """One submission, as far as its prompt's fate depends on it. Times are microseconds since 1970."""

    id: int
    prompt: UUID | None
    complete: bool
    answered: int | None  # where the phone's clock can be believed
    received: int
    version: int
    answers: str  # JSON

    @property
    def order(self) -> tuple[bool, int, int]:
        """In the order in which they were answered; one without a believable time comes last."""
        return self.answered is None, self.received if self.answered is None else self.answered, self.id


class Fate(NamedTuple):
    status: str
    answer: Sent | None  # the finished answer that decided

    @property
    def used(self) -> bool:
        return self.status in USED


class Window(NamedTuple):
    """Until when a prompt could be started and, by whoever had, finished. Times are microseconds since 1970."""

    expires: int
    grace: int = 0
    started: int | None = None  # when it was first started, where the phone's clock can be believed

    def holds(self, answered: int) -> bool:
        """Whether an answer is in time: before it expires, or within the grace after a start before that."""
        in_grace = self.started is not None and self.started <= self.expires and answered <= self.expires + self.grace
        return answered <= self.expires or in_grace


def fate(sent: Sequence[Sent], events: Mapping[str, int], window: Window, late_cutoff: float | None) -> Fate:
    """Of submissions in their order: the first finished one decides, whatever else a confused phone reported beside it."""
    answer = next((each for each in sent if each.complete), None)
    if answer is not None:
        if answer.answered is None or window.holds(answer.answered):
            return Fate("answered", answer)
        late = late_cutoff is None or minutes(answer.answered - window.expires) <= late_cutoff
        return Fate("late" if late else "too_late", answer)
    if events.get("cancelled") and not events.get("expired"):
        return Fate("cancelled_with_answers" if sent else "cancelled", None)
    if events.get("expired") or sent:
        return Fate("expired_with_answers" if sent else "expired", None)
    return Fate("no_record", None)


def minutes(microseconds: int) -> float:
    return microseconds / 1_000_000 / 60
