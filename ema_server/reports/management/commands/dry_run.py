"""`manage.py dry_run STUDY [--plan FILE]`: a sampling plan played through before anybody is asked, and what it will tell."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ema_server.common.errors import DomainError
from ema_server.reports.rehearsal import plan_rehearsal
from ema_server.sampling.dry_run.text import lines_of
from ema_server.studies.commands import StudyCommand, as_list, read_json
from ema_server.studies.models import Study, known_zone
from ema_server.studies.services import InvalidSamplingPlan

SIMULATIONS = 100


class Command(StudyCommand):
    help = "Plays a sampling plan through with simulated people: what is asked when, gaps, burden, what is lost, how precise it will be (docs/sampling.md)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name")
        parser.add_argument(
            "--plan", type=Path, metavar="FILE", help="a plan as JSON (default: the newest that is published)"
        )
        parser.add_argument("--people", type=int, default=200, metavar="N", help="how many take part (default: 200)")
        parser.add_argument(
            "--days", type=int, metavar="N", help="for how long each of them does (default: all days of the study)"
        )
        parser.add_argument(
            "--zones",
            default="world",
            metavar="ZONES",
            help="world, study (its own), or zones like Europe/Amsterdam,Asia/Tokyo",
        )
        parser.add_argument(
            "--dates", action="store_true", help="within the study's own dates (default: all over a year)"
        )
        parser.add_argument("--seed", type=int, default=1, metavar="N", help="other people and draws (default: 1)")
        parser.add_argument(
            "--no-forecast", action="store_true", help="without how precise it will be, which takes longest"
        )
        parser.add_argument("--json", action="store_true", help="everything, as JSON")

    def about(self, study: Study, **options: Any) -> None:
        document = read_json(options["plan"]) if options["plan"] else None
        zones = _zones(options["zones"], study)
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total}"))
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
            bar = shown.add_task("People asked", total=options["people"])

            def told(what: str, done: int, total: int) -> None:
                shown.update(bar, description=what, completed=done, total=total)

            try:
                rehearsal = plan_rehearsal(
                    study,
                    document,
                    people=options["people"],
                    days=options["days"],
                    zones=zones,
                    within_dates=options["dates"],
                    seed=options["seed"],
                    simulations=0 if options["no_forecast"] else SIMULATIONS,
                    progress=told,
                )
            except InvalidSamplingPlan as error:
                raise CommandError(as_list("The plan cannot be met:", error.detail.splitlines())) from error
            except DomainError as error:
                raise CommandError(error.detail) from error
        if options["json"]:
            self.stdout.write(json.dumps(rehearsal.as_json, ensure_ascii=False, indent=1))
            return
        self.stdout.write(self.style.MIGRATE_HEADING(f"Dry run of {study.title}"))
        for line in lines_of(rehearsal.run.as_json, rehearsal.forecast_words):
            self.stdout.write(self.style.MIGRATE_HEADING(line) if line and not line.startswith(" ") else line)
        if options["plan"]:
            self.stdout.write(f"\nTo publish it: manage.py publish_sampling_plan {study.slug} {options['plan']}")


def _zones(text: str, study: Study) -> Sequence[str] | None:
    if text == "world":
        return None
    zones = [study.zone] if text == "study" else [each.strip() for each in text.split(",") if each.strip()]
    try:
        for zone in zones:
            known_zone(zone)
    except ValidationError as error:
        raise CommandError(f"--zones: {error.message}") from error
    if not zones:
        raise CommandError("--zones: name at least one zone like Europe/Amsterdam, or write study or world.")
    return zones
