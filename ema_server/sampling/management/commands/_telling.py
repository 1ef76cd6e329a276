"""How the commands about schedules show what a change does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand

from ema_server.sampling.changes import Ahead, Changes, Diff, counts_in_words
from ema_server.sampling.models import ScheduleChange
from ema_server.sampling.plan import Draw
from ema_server.sampling.plan_edits import roll_out
from ema_server.studies.commands import in_lines
from ema_server.studies.models import Study

SHOWN = 6  # prompts of one person


def diff_lines(diff: Diff, zones: dict[str, str]) -> Iterator[str]:
    """The sentence, then some people's prompts, by the clock of their own zone."""
    yield in_lines(diff.in_words())
    for pseudonym, changes in diff.examples:
        zone = ZoneInfo(zones[pseudonym])
        lines = _prompts(changes, zone)
        yield f"  {pseudonym} ({zone}):"
        yield from (f"    {line}" for _, line in lines[:SHOWN])
        if len(lines) > SHOWN:
            yield f"    … and {len(lines) - SHOWN:,} more"
    if diff.touched > len(diff.examples):
        yield f"  … and {diff.touched - len(diff.examples):,} participants more"


def _prompts(changes: Changes, zone: ZoneInfo) -> list[tuple[datetime, str]]:
    def at(moment: datetime) -> str:
        return moment.astimezone(zone).strftime("%a %Y-%m-%d %H:%M")

    def name(what: Ahead | Draw) -> str:
        return what.key[0] if isinstance(what, Ahead) else what.rule

    def then(was: datetime, now: datetime) -> str:
        day, clock = at(now).rsplit(" ", 1)
        return clock if at(was).startswith(day) else f"{day} {clock}"

    lines = [(was.opens, f"{at(was.opens)} → {then(was.opens, now.opens)}  {name(now)}") for was, now in changes.moved]
    lines += [(was.opens, f"{at(was.opens)}  {name(now)} changes otherwise") for was, now in changes.altered]
    lines += [(now.opens, f"{at(now.opens)}  {name(now)} is added") for now in changes.added]
    lines += [(now.opens, f"{at(now.opens)}  {name(now)} is asked again") for _, now in changes.restored]
    lines += [(was.opens, f"{at(was.opens)}  {name(was)} falls away") for was in changes.called_off]
    lines += [(each.opens, f"{at(each.opens)}  {name(each)} is too close") for each in changes.too_close]
    return sorted(lines)


def zones_of(study: Study, diff: Diff) -> dict[str, str]:
    names = [pseudonym for pseudonym, _ in diff.examples]
    return dict(study.participants.filter(pseudonym__in=names).values_list("pseudonym", "zone"))


class Carrying(BaseCommand):
    """A command that takes a change to everybody here and now; the outbox goes on where it is interrupted."""

    def carry(self, change: ScheduleChange) -> None:
        if change.participant is None and change.people:
            roll_out(change, self.told)
            self.stdout.write("")
        change.refresh_from_db()
        self.stdout.write(in_lines(f"Change {change.number}: {counts_in_words(change.counts or {})}."))

    def told(self, done: int, people: int) -> None:
        if self.stdout.isatty() or done == people:
            self.stdout.write(f"\rIt has reached {done:,} of {people:,} participants.", ending="")
            self.stdout.flush()
