"""The picture of clock time × day, made as coarse as there is room for: rows of cells with a level from 0 to 4."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ema_server.sampling.dry_run.found import Run

LEVELS = 4
SPANS = (1, 2, 7, 14, 28, 56)  # days in a row


@dataclass(frozen=True, slots=True)
class Heat:
    """`rows` of counts, each of `days_per_row` days from `first_day` on; a column is `minutes` long, the first begins at
    `start` minutes after midnight."""

    rows: list[list[int]]
    days: int
    days_per_row: int
    minutes: int
    start: int

    @property
    def most(self) -> int:
        return max((count for row in self.rows for count in row), default=0)

    @property
    def columns(self) -> int:
        return len(self.rows[0]) if self.rows else 0

    def level(self, count: int) -> int:
        """0 for none; then by the square root, so that one moment that all share leaves the others visible."""
        return math.ceil(LEVELS * math.sqrt(count / self.most)) if count else 0

    def label(self, row: int) -> str:
        first = row * self.days_per_row + 1
        last = min(first + self.days_per_row - 1, self.days)
        return str(first) if first == last else f"{first}–{last}"

    def hours(self, every: int) -> list[tuple[int, str]]:
        """Marks for an axis: the minutes after the first column's start, and the hour as the clock shows it."""
        end = self.start + self.columns * self.minutes
        return [
            (at - self.start, f"{at // 60 % 24:02d}")
            for at in range(-(-self.start // 60) * 60, end + 1, 60)
            if at // 60 % every == 0
        ]

    def bounds(self) -> list[tuple[int, int, int]]:
        """Each level that is there, with from how many to how many prompts it stands for."""
        edges = [self.most * each**2 // LEVELS**2 for each in range(LEVELS + 1)]
        there = {self.level(count) for row in self.rows for count in row}
        return [(level, low + 1, high) for level, (low, high) in enumerate(pairwise(edges), start=1) if level in there]

    def totals(self) -> list[int]:
        """Of each column."""
        return [sum(column) for column in zip(*self.rows, strict=True)]


def heat_of(run: Run, rules: Sequence[str] | None = None, *, most_rows: int, most_columns: int) -> Heat:
    """Of some rules, or of all together."""
    picture = run["picture"]
    chosen = [counts for key, counts in picture["counts"].items() if rules is None or key in rules]
    width, start = picture["half_hours"], picture["first_half_hour"]
    days = [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*chosen, strict=True)]
    merge = 1
    while math.ceil((width + 1) / merge) > most_columns:
        merge *= 2
    lead = start % merge
    span = next(each for each in (*SPANS, math.ceil(len(days) / most_rows)) if math.ceil(len(days) / each) <= most_rows)
    grouped = [[sum(cells) for cells in zip(*days[at : at + span], strict=True)] for at in range(0, len(days), span)]
    rows = [
        [sum(padded[at : at + merge]) for at in range(0, len(padded), merge)]
        for padded in ([0] * lead + row for row in grouped)
    ]
    return Heat(rows, len(days), span, 30 * merge, 30 * (start - lead))
