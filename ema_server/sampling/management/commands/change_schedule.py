"""`manage.py change_schedule STUDY PERSON … --reason … [--yes]`: other days, hours, events or bursts for one person or some."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.participants.models import Participant
from ema_server.sampling.changes import Diff, counts_in_words
from ema_server.sampling.edits import last_change_of, people_concerned
from ema_server.sampling.management.commands._telling import diff_lines, zones_of
from ema_server.sampling.models import ScheduleChange
from ema_server.sampling.person_edits import Schedule, change_schedule, preview_schedule
from ema_server.studies.commands import StudyCommand, in_lines, read_day
from ema_server.studies.models import Study

Effect = ScheduleChange.Effect
WEEK = "1234567"


class Command(StudyCommand):
    help = (
        "Changes the schedule of one person, or of some at once (docs/sampling.md). It says what happens to their prompts; with "
        "--yes it does it. What is not named stays; an empty value (--event quit=) takes something away."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name")
        parser.add_argument("person", nargs="*", help="pseudonyms")
        parser.add_argument("--everybody", action="store_true", help="whoever is in, instead of naming people")
        parser.add_argument("--waking", action="append", default=[], metavar="[DAY:]FROM-TO", help=(
            "when they are awake, such as 14:00-04:00; with a day of the week, 1 is Monday: 6:09:00-23:00"
        ))  # fmt: skip
        parser.add_argument("--event", action="append", default=[], metavar="KEY=DATE", help="their own event")
        parser.add_argument(
            "--wave", action="append", default=[], metavar="KEY=DATE", help="when a burst begins for them"
        )
        parser.add_argument("--first-day", metavar="DATE", help="of somebody who is only invited")
        parser.add_argument("--last-day", metavar="DATE")
        parser.add_argument("--reason", default="", help="why; needed with --yes, and kept in the trail")
        parser.add_argument("--yes", action="store_true", help="do it")
        parser.add_argument("--at-once", action="store_true", help="change the rest of today too")

    def about(self, study: Study, **options: Any) -> None:
        people = _people(study, options["person"], everybody=options["everybody"])
        effect = Effect.AT_ONCE if options["at_once"] else Effect.NEXT_DAY
        diff, now = Diff(), clock.now()
        plans = [(person, _schedule(person, options), last_change_of(person)) for person in people]
        try:
            for person, schedule, _ in plans:
                diff.join(preview_schedule(participant=person, schedule=schedule, effect=effect, now=now))
            self.stdout.write(f"What it changes {effect.label}:")
            self.stdout.write("\n".join(diff_lines(diff, zones_of(study, diff))))
            if not options["yes"]:
                self.stdout.write("\nNothing was changed; say --yes and --reason why to do it.")
                return
            with transaction.atomic():
                for person, schedule, last in plans:
                    change, _ = change_schedule(
                        participant=person,
                        schedule=schedule,
                        based_on=last.number if last else 0,
                        effect=effect,
                        reason=options["reason"],
                        actor="server",
                        now=now,
                    )
                    told = counts_in_words(change.counts or {})
                    self.stdout.write(in_lines(f"Change {change.number}, {person.pseudonym}: {told}."))
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"To take one back: manage.py schedule_changes {study.slug} --undo NUMBER --reason …")


def _people(study: Study, names: list[str], *, everybody: bool) -> list[Participant]:
    if everybody == bool(names):
        raise CommandError("Name people by their pseudonyms, or say --everybody.")
    if everybody:
        return list(people_concerned(study).select_related("study"))
    known = {
        person.pseudonym: person for person in study.participants.filter(pseudonym__in=names).select_related("study")
    }
    missing = [name for name in names if name not in known]
    if missing:
        raise CommandError(f"Nobody in {study.slug} is called {missing[0]!r}.")
    return [known[name] for name in dict.fromkeys(names)]


def _schedule(person: Participant, options: dict[str, Any]) -> Schedule:
    """The person's schedule with what was given in the place of what was there."""
    own = {name: dict(value) for name, value in person.schedule.items()}
    for option, part in (("event", "events"), ("wave", "waves")):
        for text in options[option]:
            key, sign, day = text.partition("=")
            if not sign:
                raise CommandError(
                    f"--{option} {text!r}: write it like {option}=2026-03-01, with a key of the plan's {part}."
                )
            _put(own, part, key, str(read_day(f"--{option}", day)) if day else None)
    for text in options["waking"]:
        day, hours = (text[0], text[2:]) if text[:1] in WEEK and text[1:2] == ":" else ("every", text)
        begins, sign, ends = hours.partition("-")
        if hours and not sign:
            raise CommandError(f"--waking {text!r}: write it like 14:00-04:00, or 6:09:00-23:00 for Saturdays.")
        _put(own, "waking", day, [begins, ends] if hours else None)
    first, last = (options[name] for name in ("first_day", "last_day"))
    return Schedule(
        read_day("--first-day", first) if first else person.first_day,
        read_day("--last-day", last) if last else person.last_day,
        own,
    )


def _put(own: dict[str, Any], part: str, key: str, value: Any) -> None:
    """Set, or take away; a part that is empty is not there."""
    held = own.setdefault(part, {})
    held.pop(key, None)
    if value is not None:
        held[key] = value
    if not held:
        del own[part]
