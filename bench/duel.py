"""Calls side by side: one warm-up each, then rounds in alternating order, every time kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.engines import Engine


@dataclass(frozen=True)
class Side:
    """One engine's part of a duel: `before` runs ahead of each call, outside the clock."""

    name: str
    engine: Engine
    call: str
    before: str = ""

    def seconds(self) -> float:
        if self.before:
            self.engine.run(self.before)
        return self.engine.time(self.call)


def duel(sides: Sequence[Side], rounds: int) -> dict[str, list[float]]:
    """Seconds of each side, one per round; a b b a a b …"""
    for side in sides:
        side.seconds()
    seconds: dict[str, list[float]] = {side.name: [] for side in sides}
    for k in range(rounds):
        for side in sides if k % 2 == 0 else reversed(sides):
            seconds[side.name].append(side.seconds())
    return seconds


@dataclass(frozen=True)
class Ratio:
    """How many times the peer's time ours is: of the medians, with the lowest and highest of a round."""

    value: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        return f"{self.value:.3g} × ({self.lowest:.3g}–{self.highest:.3g})"


def ratio(peer: Sequence[float], ours: Sequence[float]) -> Ratio:
    own = [theirs / mine for theirs, mine in zip(peer, ours, strict=True)]
    return Ratio(median(peer) / median(ours), min(own), max(own))
