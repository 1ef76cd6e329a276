"""How simulated people respond to a prompt: a stated model of four numbers, so that what closes too early can be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import NormalDist
from typing import NamedTuple

NORMAL = NormalDist()
IN_TIME, REMINDED, CLOSED, UNNOTICED = "in_time", "reminded", "closed", "unnoticed"
FATES = (IN_TIME, REMINDED, CLOSED, UNNOTICED)


def percent(share: float | None) -> str:
    if share is None:
        return "–"
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%" if share >= 0.005 or share == 0 else "under 1\N{NO-BREAK SPACE}%"


class Response(NamedTuple):
    """What became of a prompt, and after how many minutes it was started if it was."""

    fate: str
    minutes: float | None


@dataclass(frozen=True, slots=True)
class Responding:
    """A prompt's first notification is noticed with one probability, each reminder with another, independently; whoever
    notices starts after a lognormal delay.

    The defaults: an hour's prompt without reminders is answered in 79 %, the mean of 477 articles (Wrzus & Neubauer 2023, doi
    10.1177/10731911211067538). The delays, and that 3 in 10 reminders are noticed, are assumptions of ours.
    """

    noticed: float = 0.82
    reminder_noticed: float = 0.30
    median_minutes: float = 5.0
    nine_in_ten_minutes: float = 30.0

    def __post_init__(self) -> None:
        for name in ("noticed", "reminder_noticed"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name}: {getattr(self, name)!r} is no share from 0 to 1.")
        if not 0.0 < self.median_minutes < self.nine_in_ten_minutes:
            raise ValueError(
                f"median_minutes: {self.median_minutes!r} must be above 0 and below nine_in_ten_minutes, "
                f"{self.nine_in_ten_minutes!r}."
            )

    @property
    def spread(self) -> float:
        """The SD of the delay's logarithm."""
        return math.log(self.nine_in_ten_minutes / self.median_minutes) / NORMAL.inv_cdf(0.9)

    def started_within(self, minutes: float) -> float:
        """The share of those who notice that has started by then."""
        return NORMAL.cdf(math.log(minutes / self.median_minutes) / self.spread) if minutes > 0 else 0.0

    def shares(self, open_minutes: float, reminders: Sequence[float] = ()) -> dict[str, float]:
        """What is expected of a prompt, by fate."""
        at_once = self.noticed * self.started_within(open_minutes)
        missed, unnoticed = 1.0 - at_once, 1.0 - self.noticed
        for after in reminders:
            missed *= 1.0 - self.reminder_noticed * self.started_within(open_minutes - after)
            unnoticed *= 1.0 - self.reminder_noticed
        return {
            IN_TIME: at_once,
            REMINDED: 1.0 - at_once - missed,
            CLOSED: missed - unnoticed,
            UNNOTICED: unnoticed,
        }

    def respond(self, rng: Random, open_minutes: float, reminders: Sequence[float] = ()) -> Response:
        """One person, one prompt."""
        first = self._start(rng, self.noticed, 0.0)
        starts = [first, *(self._start(rng, self.reminder_noticed, after) for after in reminders)]
        soonest = min(starts)
        if soonest == math.inf:
            return Response(UNNOTICED, None)
        if soonest >= open_minutes:
            return Response(CLOSED, None)
        return Response(IN_TIME if first < open_minutes else REMINDED, soonest)

    def in_words(self) -> list[str]:
        hour = self.shares(60)[IN_TIME]
        return [
            f"{percent(self.noticed)} of the prompts are noticed at their first notification, so that one that is open for an hour and "
            f"has no reminders is answered in {percent(hour)}. The mean of 477 articles is 79 % (Wrzus & Neubauer 2023, doi "
            "10.1177/10731911211067538).",
            f"Each reminder is noticed by {percent(self.reminder_noticed)} (an assumption of ours).",
            f"Whoever notices starts after {self.median_minutes:g} minutes at the median, nine in ten within "
            f"{self.nine_in_ten_minutes:g}; lognormal (an assumption of ours).",
            "Prompts are noticed independently of each other; people do not differ, do not tire and do not leave.",
        ]

    def _start(self, rng: Random, noticed: float, after: float) -> float:
        if rng.random() >= noticed:
            return math.inf
        return after + self.median_minutes * math.exp(self.spread * rng.gauss(0.0, 1.0))
