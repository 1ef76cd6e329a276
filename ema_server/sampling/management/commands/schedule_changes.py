"""`manage.py schedule_changes STUDY [--undo N --reason …]`: what was edited while the study ran, and taking it back."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.sampling.changes import counts_in_words
from ema_server.sampling.management.commands._telling import Carrying
from ema_server.sampling.models import ScheduleChange
from ema_server.sampling.undoing import undo
from ema_server.studies.commands import StudyCommand, in_lines
from ema_server.studies.models import Study

INDENT = " " * 6


class Command(Carrying, StudyCommand):
    help = "Lists the edits of plan and schedules, the newest first; --undo takes one back by another."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name")
        parser.add_argument("--undo", type=int, metavar="N", help="the number of the change")
        parser.add_argument("--reason", default="", help="why it is taken back")

    def about(self, study: Study, **options: Any) -> None:
        changes = ScheduleChange.objects.filter(study=study).select_related("plan", "participant", "undoes", "study")
        if options["undo"] is None:
            lines = [_line(change) for change in changes.order_by("-number")]
            self.stdout.write("\n".join(lines) or f"Nothing was edited while {study.slug} ran.")
            return
        change = changes.filter(number=options["undo"]).first()
        if change is None:
            raise CommandError(f"--undo {options['undo']}: {study.slug} has no change of this number.")
        try:
            made = undo(change=change, reason=options["reason"], actor="server", now=clock.now())
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"Change {change.number} is taken back by change {made.number}, {made.get_effect_display()}.")
        self.carry(made)


def _line(change: ScheduleChange) -> str:
    what = (
        change.participant.pseudonym if change.participant else f"plan {change.before['plan']} → {change.after['plan']}"
    )
    undone = f", takes back {change.undoes.number}" if change.undoes else ""
    first = f"{change.number:>4}  {change.made_at:%Y-%m-%d %H:%M} UTC  {what}{undone}, {change.get_effect_display()}"
    return "\n".join(
        [
            in_lines(first, then=INDENT),
            in_lines(f"{_done(change)}.", indent=INDENT),
            in_lines(f"“{change.reason}” ({change.actor})", indent=INDENT),
        ]
    )


def _done(change: ScheduleChange) -> str:
    if change.counts is None:
        return "on its way"
    reached = change.counts.get("people", change.people)
    some = f", for {reached:,} of {change.people:,} participants" if reached < change.people else ""
    return counts_in_words(change.counts) + some
