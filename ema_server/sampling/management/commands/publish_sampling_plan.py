"""`manage.py publish_sampling_plan STUDY FILE [--yes] [--reason …] [--at-once]`: who is asked what and when, from a JSON file."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.sampling.decisions import standing_faults
from ema_server.sampling.management.commands._telling import Carrying, diff_lines, zones_of
from ema_server.sampling.models import ScheduleChange
from ema_server.sampling.plan_edits import preview_plan, publish_plan
from ema_server.sampling.words import plan_in_words
from ema_server.studies.commands import StudyCommand, as_list, in_lines, read_json
from ema_server.studies.models import Study
from ema_server.studies.queries import current_sampling_plan
from ema_server.studies.services import faults_of_plan

Effect = ScheduleChange.Effect


class Command(Carrying, StudyCommand):
    help = "Publishes a sampling plan (docs/sampling.md). It says what the plan asks and what it changes for whoever is in; with --yes it does it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name")
        parser.add_argument("file", type=Path, help="the plan, as JSON")
        parser.add_argument("--yes", action="store_true", help="publish it")
        parser.add_argument("--reason", default="", help="why the plan changes; needed where people are in")
        parser.add_argument(
            "--at-once", action="store_true", help="change the rest of today too, not from each person's next day"
        )

    def about(self, study: Study, **options: Any) -> None:
        document = read_json(options["file"])
        faults = faults_of_plan(study, document) or standing_faults(study, document)
        if faults:
            raise CommandError(as_list("It cannot be published:", faults))
        for sentence in plan_in_words(document):
            self.stdout.write(in_lines(sentence, then="  "))
        before = current_sampling_plan(study)
        effect = Effect.AT_ONCE if options["at_once"] else Effect.NEXT_DAY
        try:
            diff = preview_plan(study=study, document=document, effect=effect, now=clock.now())
            if diff.refused:
                raise CommandError(as_list("It cannot be met for some people:", diff.refused))
            if diff.people:
                self.stdout.write(f"\nWhat it changes {effect.label}:")
                self.stdout.write("\n".join(diff_lines(diff, zones_of(study, diff))))
            if not options["yes"]:
                needed = " and --reason why" if diff.people else ""
                self.stdout.write(f"\nNothing is wrong with it, and nothing was published; say --yes{needed} to do it.")
                self.stdout.write(f"To play it through first: manage.py dry_run {study.slug} --plan {options['file']}")
                return
            plan, change = publish_plan(
                study=study,
                document=document,
                based_on=before.number if before else 0,
                effect=effect,
                reason=options["reason"],
                actor="server",
                now=clock.now(),
            )
        except DomainError as error:
            raise CommandError(error.detail) from error
        if before == plan:
            self.stdout.write(f"\nThis is version {plan.number} of the sampling plan of {study.slug} already.")
            return
        self.stdout.write(f"\nVersion {plan.number} of the sampling plan of {study.slug} is published.")
        if change is not None:
            self.carry(change)
            self.stdout.write(
                f"To take it back: manage.py schedule_changes {study.slug} --undo {change.number} --reason …"
            )
