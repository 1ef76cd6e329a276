"""`manage.py import_study FILE… --slug SLUG --dry-run`: what a finished study's file holds, and then its import."""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.imports import services, showing
from ema_server.imports.analysis_plan import analysis_plan
from ema_server.imports.findings import KINDS, Findings
from ema_server.imports.judging import InvalidSurveyFile, Plan
from ema_server.imports.planning import FORMATS, Reading, first_reading
from ema_server.studies.commands import find_owner, read_json
from ema_server.studies.models import Study

SHORT_NAME = re.compile(r"[-a-zA-Z0-9_]{1,50}")
LONGEST_TITLE = 200


class Command(BaseCommand):
    help = "Imports a finished study's data, so that the nightly report can be judged on them. Begin with --dry-run."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "files",
            nargs="+",
            type=Path,
            metavar="FILE",
            help="CSV files of the same columns; for m-Path basic.csv and its meta data",
        )
        parser.add_argument("--slug", required=True, help="the study's new short name, for addresses and commands")
        parser.add_argument("--title", help="the study's name (default: its short name)")
        parser.add_argument("--zone", help="time zone of times that name none, like Europe/Amsterdam")
        parser.add_argument("--source", default="", help="where the data come from, with their licence")
        parser.add_argument("--format", choices=FORMATS, default="long")
        parser.add_argument("--map", type=Path, help="JSON that says which column is what")
        parser.add_argument("--questionnaire", default="momentary", help="of rows that name none")
        parser.add_argument(
            "--survey",
            action="append",
            default=[],
            metavar="[NAME=]FILE",
            help="a questionnaire (ema-survey/1) instead of an inferred one",
        )
        parser.add_argument(
            "--open-minutes", type=float, help="how long a prompt could be answered, where no column says it"
        )
        parser.add_argument(
            "--first-day",
            type=_day,
            default=date(2001, 1, 1),
            help="where a file without a clock is put (default: Monday 2001-01-01)",
        )
        parser.add_argument("--encoding", help="of the files, where it is not UTF-8")
        parser.add_argument("--delimiter", help="between cells, where it cannot be told")
        parser.add_argument("--outcome", help="the item that an analysis plan explains")
        parser.add_argument("--predictor", help="the item by which it explains it")
        parser.add_argument(
            "--leave-out",
            default="",
            metavar="KINDS",
            help=f"what may be left out, with commas between: {', '.join(KINDS)}",
        )
        parser.add_argument(
            "--owner", help="address of the researcher to whom the study belongs (default: the only one)"
        )
        parser.add_argument("--dry-run", action="store_true", help="count and name everything, store nothing")
        parser.add_argument("--json", action="store_true", help="tell it as JSON, for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        out: Any = None if options["json"] else getattr(self.stdout, "_out", None)  # a test's own, where there is one
        self.console = Console(highlight=False, stderr=options["json"], file=out)
        try:
            self._import(options)
        except (DomainError, InvalidSurveyFile) as error:
            raise CommandError(str(error)) from error

    def _import(self, options: dict[str, Any]) -> None:
        allowed = _kinds(options["leave_out"])
        slug, dry = options["slug"], options["dry_run"]
        if not SHORT_NAME.fullmatch(slug):
            raise CommandError(f"--slug {slug[:60]!r}: a short name has 1 to 50 letters, digits, - and _.")
        if len(options["title"] or "") > LONGEST_TITLE:
            raise CommandError(f"--title: at most {LONGEST_TITLE} characters.")
        self._free(slug)
        if bool(options["outcome"]) != bool(options["predictor"]):
            raise CommandError("--outcome and --predictor go together: what is explained, and by what.")
        owner = None if dry else find_owner(options["owner"])
        now = clock.now()
        reading = Reading(
            files=options["files"],
            format=options["format"],
            zone=options["zone"],
            map=read_json(options["map"]) if options["map"] else {},
            surveys=_surveys(options["survey"], options["questionnaire"]),
            questionnaire=options["questionnaire"],
            open_minutes=options["open_minutes"],
            first_day=options["first_day"],
            encoding=options["encoding"],
            delimiter=options["delimiter"],
        )
        findings = Findings(allowed)
        with self._progress("Reading") as each:
            plan = first_reading(reading, findings, each=each)
        analysis = (
            analysis_plan(plan, outcome=options["outcome"], predictor=options["predictor"])
            if options["outcome"]
            else None
        )
        if dry or findings.blocking:
            with self._progress("Judging", plan) as each:
                counts = services.dry_run(plan=plan, findings=findings, now=now, each=each)
            study = None
        else:
            assert owner is not None
            facts = services.Facts(
                slug=slug,
                title=options["title"] or slug,
                zone=plan.clock.zone,
                source=options["source"] or f"Imported from {', '.join(path.name for path in options['files'])}",
                format=options["format"],
                plan=analysis,
            )
            with self._progress("Importing", plan) as each:
                try:
                    study, counts = services.import_finished_study(
                        facts=facts,
                        plan=plan,
                        findings=findings,
                        owner=owner,
                        actor=owner.audit_name,
                        now=now,
                        each=each,
                    )
                except services.Unplaced as error:
                    study, counts = None, error.counts
        if options["json"]:
            self.stdout.write(json.dumps(services.import_report(plan, findings, counts), indent=2, ensure_ascii=False))
        else:
            showing.show(self.console, plan, findings, counts, imported=study is not None)
        if study is None and not dry:
            raise CommandError(
                f"Nothing was stored. Mend the file or the map, or let it be left out: --leave-out {','.join(sorted({f.kind for f in findings.blocking} | allowed))}"
            )
        if not options["json"]:
            showing.next_steps(
                self.console, slug, findings, imported=study is not None, planned=analysis is not None, plan=plan
            )

    def _free(self, slug: str) -> None:
        try:
            taken = Study.objects.filter(slug=slug).exists()
        except ProgrammingError as error:
            raise CommandError("The database has no tables yet: run manage.py upgrade.") from error
        if taken:
            raise CommandError(
                f"--slug: there is a study {slug!r} already, and an import never adds to one. Choose another short name."
            )

    @contextmanager
    def _progress(self, what: str, plan: Plan | None = None) -> Iterator[Callable[[int], None]]:
        """A bar on the terminal; how many rows there are is known after the first reading."""
        with Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rows]}"), TimeElapsedColumn(),
            console=self.console, transient=True, disable=not self.console.is_terminal,
        ) as progress:  # fmt: skip
            bar = progress.add_task(what, total=plan.learned.rows if plan else None, rows="")
            yield lambda rows: progress.update(bar, completed=rows, rows=f"{rows:,} rows")


def _kinds(text: str) -> set[str]:
    kinds = {each.strip() for each in text.split(",") if each.strip()}
    for kind in kinds - set(KINDS):
        raise CommandError(f"--leave-out {kind!r} is none of {', '.join(KINDS)}.")
    return kinds


def _surveys(given: list[str], questionnaire: str) -> dict[str, dict[str, Any]]:
    found = {}
    for each in given:
        name, found_sign, path = each.partition("=")
        name, path = (name, path) if found_sign else (questionnaire, each)
        document = read_json(Path(path))
        if not isinstance(document, dict):
            raise CommandError(f"--survey {path}: a questionnaire is a JSON object, see docs/questionnaires.md.")
        found[name] = document
    return found


def _day(text: str) -> date:
    return date.fromisoformat(text)
