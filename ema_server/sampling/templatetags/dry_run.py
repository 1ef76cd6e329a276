"""How a dry run's figures and pictures are written on a page. `run` is a DryRun `as_json`."""

from __future__ import annotations

from typing import Any

from django import template

from ema_server.common import figures
from ema_server.sampling.dry_run.drawing import Drawing, drawing_of
from ema_server.sampling.dry_run.found import Run
from ema_server.sampling.dry_run.heat import Heat, heat_of
from ema_server.sampling.dry_run.responding import percent
from ema_server.sampling.dry_run.text import apart_words, burden_words, change_words, gap_words, length, span

register = template.Library()
register.filter("percent", percent)
register.filter("length", length)


@register.filter
def drawn(run: Run, size: str) -> Drawing:
    return drawing_of(run, size)


@register.simple_tag
def drawn_rule(run: Run, size: str, rule: str) -> Drawing:
    return drawing_of(run, size, rule)


@register.filter
def by_hour(run: Run) -> Heat:
    """The figures of the picture, as a table has them."""
    return heat_of(run, most_rows=31, most_columns=24)


@register.filter
def table_rows(heat: Heat) -> list[tuple[str, list[int]]]:
    return [(heat.label(place), row) for place, row in enumerate(heat.rows)]


@register.filter
def table_hours(heat: Heat) -> list[str]:
    starts = range(heat.start, heat.start + heat.columns * heat.minutes, heat.minutes)
    return [f"{at // 60 % 24:02d}:{at % 60:02d}" for at in starts]


@register.filter
def panels(run: Run) -> list[dict[str, Any]]:
    """The rules that get a picture of their own: those that ask on more than two days, where there are others."""
    asked = [rule for rule in run["rules"] if rule["prompts"]]
    many = [rule for rule in asked if sum(map(any, run["picture"]["counts"][rule["key"]])) > 2]
    return many if len(asked) > 1 else []


@register.filter
def sentences(run: Run, what: str) -> list[str]:
    about = {"gaps": gap_words, "burden": burden_words, "changes": change_words, "apart": apart_words}
    return about[what](run)


@register.filter
def bar(shares: Run) -> list[tuple[str, float, float]]:
    """Where each fate begins on a bar of 100 and how long it is."""
    found, start = [], 0.0
    for fate in ("in_time", "reminded", "closed", "unnoticed"):
        width = 100 * (shares.get(fate) or 0.0)
        found.append((fate, round(start, 1), round(width, 1)))
        start += width
    return found


@register.filter
def answered(shares: Run) -> str:
    return percent((shares.get("in_time") or 0.0) + (shares.get("reminded") or 0.0))


@register.filter
def to(first: Any, last: Any) -> str:
    return span(first, last)


@register.filter
def count(value: float | None) -> str:
    return "–" if value is None else figures.number(value, 0)


@register.filter
def one_decimal(value: float | None) -> str:
    return "–" if value is None else figures.number(value, 1).removesuffix(".0")
