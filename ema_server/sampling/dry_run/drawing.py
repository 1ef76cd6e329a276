"""The picture of a dry run as places on a page: a heat map of clock time × day, wide or narrow, never one that is squeezed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ema_server.sampling.dry_run.found import Run
from ema_server.sampling.dry_run.heat import LEVELS, Heat, heat_of
from ema_server.sampling.dry_run.text import span
from ema_server.studies.sampling_slots import clock

LEFT, TOP, BOTTOM = 46, 22, 4
CLOSEST = 15  # pixels between two labels

Place = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Size:
    width: int
    most_rows: int
    most_columns: int
    row: int  # the height of a row
    every: int  # hours between two marks


SIZES = {
    "wide": Size(width=960, most_rows=31, most_columns=66, row=15, every=3),
    "narrow": Size(width=350, most_rows=31, most_columns=48, row=13, every=6),
    "small": Size(width=390, most_rows=31, most_columns=48, row=7, every=6),
    "small-narrow": Size(width=350, most_rows=31, most_columns=48, row=7, every=6),
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything in pixels. A path holds all cells of one level, 1 to 4."""

    width: int
    height: int
    right: int
    base: float
    paths: list[tuple[int, str]]
    hours: list[tuple[float, str]]
    rows: list[tuple[float, str]]
    days: list[str]  # one person's days: the line through their prompts
    dots: list[tuple[float, float]]
    words: str
    legend: list[tuple[int, str]]
    minutes: int
    days_per_row: int


def drawing_of(run: Run, size: str, rule: str = "") -> Drawing:
    """Of one rule, or of all with the exact prompts of one person over it."""
    how = SIZES[size]
    heat = heat_of(run, [rule] if rule else None, most_rows=how.most_rows, most_columns=how.most_columns)
    cell = (how.width - LEFT) / heat.columns

    def x(minute: float) -> float:
        return round(LEFT + cell * minute / heat.minutes, 1)

    def y(row: float) -> float:
        return round(TOP + how.row * row, 1)

    paths = dict.fromkeys(range(1, LEVELS + 1), "")
    for row, counts in enumerate(heat.rows):
        for column, count in enumerate(counts):
            if count:
                at = x(column * heat.minutes)
                paths[heat.level(count)] += f"M{at} {y(row)}h{cell - 1:.1f}v{how.row - 1}h{1 - cell:.1f}z"
    step = -(-CLOSEST // how.row)
    days, dots = ([], []) if rule or heat.days_per_row > 1 else _one_person(run, heat, x, y)
    return Drawing(
        width=how.width,
        height=round(y(len(heat.rows))) + BOTTOM,
        right=how.width,
        base=y(len(heat.rows)),
        paths=[(level, path) for level, path in paths.items() if path],
        hours=[(x(at), hour) for at, hour in heat.hours(how.every) if x(at) < how.width - 6],
        rows=[(y(row + 0.5), heat.label(row)) for row in range(0, len(heat.rows), step)],
        days=days,
        dots=dots,
        words=words_of(run, heat, rule),
        legend=[(level, span(low, high)) for level, low, high in heat.bounds()],
        minutes=heat.minutes,
        days_per_row=heat.days_per_row,
    )


def words_of(run: Run, heat: Heat, rule: str = "") -> str:
    """What the picture shows, for whoever does not see it."""
    if not heat.most:
        return "No prompts."
    found = [each for each in run["rules"] if each["prompts"] and rule in ("", each["key"])]
    totals = heat.totals()
    fullest = heat.start + heat.minutes * totals.index(max(totals))
    busiest = max(range(len(heat.rows)), key=lambda row: sum(heat.rows[row]))
    return (
        f"Prompts {f'of {rule} ' if rule else ''}by day and local clock time: from "
        f"{clock(min(_minute(each['earliest']) for each in found))} to {_of_day(max(_minute(each['latest']) for each in found))}, "
        f"most between {_of_day(fullest)} and {_of_day(fullest + heat.minutes)}; most on day {heat.label(busiest)}."
    )


def _one_person(run: Run, heat: Heat, x: Place, y: Place) -> tuple[list[str], list[tuple[float, float]]]:
    examples = run["picture"]["examples"]
    days: dict[int, list[tuple[float, float]]] = {}
    for each in examples[0]["prompts"] if examples else ():
        days.setdefault(each["day"], []).append((x(each["minute"] - heat.start), y(each["day"] - 0.5)))
    lines = [" ".join(f"{across},{down}" for across, down in dots) for dots in days.values()]
    return lines, [dot for dots in days.values() for dot in dots]


def _minute(text: str) -> int:
    hours, minutes = text.split(":")
    return 60 * int(hours) + int(minutes)


def _of_day(minute: int) -> str:
    return clock(minute % (24 * 60)) + (" of the night after" if minute >= 24 * 60 else "")
