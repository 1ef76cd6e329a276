"""What is known of one prompt, from all that happened to it: values in, values out, whatever order it arrived in.

A happening has two clocks: the phone's, where it can be believed, and the server's, when it was told. What is said here of
compliance is what the numerators count, and agrees with `reports/fates.py`, which decides what an analysis reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

MINUTE = timedelta(minutes=1)
SLACK = MINUTE  # by which two clocks may differ before it is worth a word
AHEAD = timedelta(minutes=2)  # a phone cannot have seen something so long after it told the server

STATES = {
    "planned": "planned; nothing has happened yet",
    "queued": "waits for its push notification",
    "sent": "the push service accepted the notification",
    "delivered": "arrived on the phone",
    "shown": "shown on the phone",
    "opened": "opened",
    "dismissed": "dismissed by the person",
    "started": "started",
    "completed": "completed on the phone; the answer has not arrived",
    "uploaded": "uploaded, says the phone; the answer has not arrived",
    "received": "a finished answer arrived",
    "expired": "expired or broken off, without a finished answer",
    "cancelled": "called off",
    "lapsed": "its time is over and nobody has told what became of it",
}
STEPS = ("delivered", "shown", "opened", "started", "completed", "uploaded")  # in this order on any phone
# The furthest of these is the state of a prompt that is not over.
_PROGRESS = (
    "planned",
    "queued",
    "sent",
    "delivered",
    "shown",
    "dismissed",
    "opened",
    "started",
    "completed",
    "uploaded",
)
ON_THE_PHONE = frozenset({*STEPS, "dismissed", "reminded"})  # none of these can be said of what did not arrive
NEVER_SENT = frozenset({"refused", "token_dead", "no_permission", "no_device"})
PLANNED, RECEIVED = "planned", "received"


@dataclass(frozen=True, slots=True)
class Asked:
    """The prompt as it stands: when it is asked, until when it can be started, how long whoever has may go on."""

    scheduled_at: datetime
    expires_at: datetime
    grace_minutes: int = 0


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened: "planned", "received" (an answer) or the kind of an event.

    `at` is the phone's clock, None where it cannot be believed or nothing came from a phone; `told` is the server's.
    """

    kind: str
    told: datetime
    at: datetime | None = None
    by_phone: bool = False
    number: int = 0  # in which order the server wrote those of one moment
    code: str = ""
    words: str = ""
    was_at: datetime | None = None  # of a prompt that moved
    now_at: datetime | None = None
    complete: bool = True  # of an answer
    started_at: datetime | None = None  # of an answer, by the phone's clock

    @property
    def moment(self) -> datetime:
        """When it happened, as well as is known."""
        return self.told if self.at is None else self.at

    @property
    def order(self) -> tuple[datetime, bool, int, str, str]:
        """Of one moment: what the server did, as it did it, then what the phone told, however that arrived."""
        return self.moment, self.by_phone, self.number if self.at is None else 0, self.kind, self.code


@dataclass(frozen=True, slots=True)
class Flag:
    """A contradiction that is kept and counted as it is; `code` is stable."""

    code: str
    words: str


@dataclass(frozen=True, slots=True)
class PromptState:
    """`judged_by` says by whose clock the answer was in time or late: the server's where the phone's cannot be believed."""

    state: str
    delivered: Literal["yes", "no", "unknown"]
    over: bool
    started: bool
    completed: bool
    in_time: bool
    judged_by: Literal["", "phone", "server"]
    flags: tuple[Flag, ...]

    @property
    def in_words(self) -> str:
        return STATES[self.state]


def prompt_state(prompt: Asked, happenings: Sequence[Happening], *, now: datetime) -> PromptState:
    """What is known of a prompt now. The first finished answer decides; where something contradicts it, a flag says so."""
    known = sorted(happenings, key=lambda each: each.order)
    answers = _answers(known)
    answer = next((each for each in answers if each.complete), None)
    started = _started(known)
    over = now > _last_moment(prompt, started)
    return PromptState(
        state=_state(known, answers, over=over),
        delivered=_delivered(known),
        over=over,
        started=started is not None,
        completed=answer is not None,
        in_time=answer is not None and answer.moment <= _last_moment(prompt, started),
        judged_by="" if answer is None else "server" if answer.at is None else "phone",
        flags=tuple(flag for each in _FLAGS for flag in each(prompt, known, over)),
    )


def called_off(happenings: Sequence[Happening]) -> list[Happening]:
    """Who called the prompt off, as far as nobody asked for it again later."""
    again = [each.order[:3] for each in happenings if each.kind == "restored"]
    return [
        each for each in happenings if each.kind == "cancelled" and not any(later > each.order[:3] for later in again)
    ]


def _answers(known: Sequence[Happening]) -> list[Happening]:
    """In the order in which they were given; one without a believable time comes last."""
    given = [each for each in known if each.kind == RECEIVED]
    return sorted(given, key=lambda each: (each.at is None, each.moment, each.number))


def _started(known: Sequence[Happening]) -> datetime | None:
    """When the person began, as early as anybody says; None if nobody says that they did."""
    said = [each.moment for each in known if each.kind in {"started", "completed", RECEIVED}]
    said += [each.started_at for each in known if each.started_at is not None]
    return min(said, default=None)


def _last_moment(prompt: Asked, started: datetime | None) -> datetime:
    """Until when an answer is in time: the grace is for those who had started."""
    if started is None or started > prompt.expires_at:
        return prompt.expires_at
    return prompt.expires_at + prompt.grace_minutes * MINUTE


def _state(known: Sequence[Happening], answers: Sequence[Happening], *, over: bool) -> str:
    kinds = {each.kind for each in known}
    off = called_off(known)
    if any(each.complete for each in answers):
        return RECEIVED
    if off and ("expired" not in kinds or (not answers and any(not each.by_phone for each in off))):
        return "cancelled"
    if "expired" in kinds or answers:
        return "expired"
    furthest = next((kind for kind in reversed(_PROGRESS) if kind in kinds), PLANNED)
    return "lapsed" if over and furthest not in {"completed", "uploaded"} else furthest


def _delivered(known: Sequence[Happening]) -> Literal["yes", "no", "unknown"]:
    """Never guessed: yes on a word of the phone, no on a word that it could not be, else unknown."""
    if any(each.kind in ON_THE_PHONE or each.kind == RECEIVED for each in known):
        return "yes"
    tries = [each for each in known if each.kind in {"sent", "undelivered"}]
    if tries:  # a later try that the push service accepted may have arrived
        return "no" if tries[-1].kind == "undelivered" else "unknown"
    return "no" if any(each.code in NEVER_SENT for each in called_off(known)) else "unknown"


# Contradictions ----------------------------------------------------------------------------------------------------------

Flags = Iterator[Flag]


def _too_early(prompt: Asked, known: Sequence[Happening], over: bool) -> Flags:
    """Done before it was asked. What was done for the time from which it moved was asked then."""
    asked = [prompt.scheduled_at, *(each.was_at for each in known if each.was_at is not None)]
    for each in known:
        if each.kind in {"opened", "started", "completed", RECEIVED} and each.at is not None:
            if each.at < min(asked) - SLACK:
                yield Flag("too_early", f"{_did(each)} {_clock(each.at)}, before it was asked at {_clock(min(asked))}")
            elif each.at < prompt.scheduled_at - SLACK:
                yield Flag("before_it_moved", f"{_did(each)} {_clock(each.at)}, for the time from which it moved")


def _after_its_end(prompt: Asked, known: Sequence[Happening], over: bool) -> Flags:
    for each in known:
        if each.kind == "started" and each.moment > prompt.expires_at:
            yield Flag(
                "started_after_end", f"started {_clock(each.moment)}, after it closed {_clock(prompt.expires_at)}"
            )


def _after_being_called_off(prompt: Asked, known: Sequence[Happening], over: bool) -> Flags:
    off = called_off(known)
    if off:
        since = min(each.moment for each in off)
        for each in known:
            if (each.kind in ON_THE_PHONE or each.kind in {RECEIVED, "expired"}) and each.moment > since:
                yield Flag("after_cancelled", f"{_did(each)} {_clock(each.moment)}, though called off {_clock(since)}")


def _twice(prompt: Asked, known: Sequence[Happening], over: bool) -> Flags:
    answers = sum(each.kind == RECEIVED and each.complete for each in known)
    said = sum(each.kind == "completed" for each in known)
    if max(answers, said) > 1:
        what = (
            f"{answers} finished answers arrived"
            if answers > 1
            else f"the phone says {said} times that it was completed"
        )
        yield Flag("completed_twice", what)


def _two_outcomes(prompt: Asked, known: Sequence[Happening], over: bool) -> Flags:
    kinds = {each.kind for each in known if each.kind != RECEIVED or each.complete}
    if "expired" in kinds and kinds & {"completed", RECEIVED}:
        yield Flag("expired_and_completed", "the phone says that it expired, and it was completed")


def _before_planning(prompt: Asked, known: Sequence[Happening], over: bool) -> Flags:
    planned = min((each.told for each in known if each.kind == PLANNED), default=None)
    for each in known:
        if planned is not None and each.at is not None and each.at < planned - SLACK:
            yield Flag("before_planned", f"{_did(each)} {_clock(each.at)}, before it was planned {_clock(planned)}")


def _out_of_order(prompt: Asked, known: Sequence[Happening], over: bool) -> Flags:
    """By the phone's own clock, which may be wrong but is one clock."""
    first: dict[str, datetime] = {}
    for each in known:
        if each.at is not None and each.kind in STEPS:
            first.setdefault(each.kind, each.at)
    there = [step for step in STEPS if step in first]
    for sooner, later in pairwise(there):
        if first[later] < first[sooner] - SLACK:
            words = f"{later} {_clock(first[later])}, before {sooner} {_clock(first[sooner])}"
            yield Flag("out_of_order", f"{words}, by the phone's own clock")


def _clocks(prompt: Asked, known: Sequence[Happening], over: bool) -> Flags:
    doubtful = sorted({each.kind for each in known if each.by_phone and each.at is None})
    if doubtful:
        yield Flag("clock_not_believed", f"the phone's time of {', '.join(doubtful)} cannot be believed")
    ahead = max((each.at - each.told for each in known if each.at is not None), default=timedelta())
    if ahead > AHEAD:
        yield Flag("clock_ahead", f"the phone's clock was {ahead // MINUTE} minutes ahead of the server's, or more")


def _not_arrived(prompt: Asked, known: Sequence[Happening], over: bool) -> Flags:
    said = [each for each in known if each.kind in {"completed", "uploaded"}]
    if over and said and not any(each.kind == RECEIVED and each.complete for each in known):
        yield Flag(
            "answer_missing", f"{said[-1].kind} {_clock(said[-1].moment)}, says the phone; no answer has arrived"
        )


_FLAGS: tuple[Callable[[Asked, Sequence[Happening], bool], Flags], ...] = (
    _before_planning, _too_early, _after_its_end, _after_being_called_off, _twice, _two_outcomes, _out_of_order, _clocks,
    _not_arrived,
)  # fmt: skip


def _did(each: Happening) -> str:
    return "answered" if each.kind == RECEIVED else each.kind


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
