"""`manage.py demo`: the whole product in one go, from phones to a report, on this machine."""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django_scopes import scope
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ema_client import Later, NotUnderstood, Refused
from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.demo import migraine, services, student_life, support_stress
from ema_server.demo.replay import replay
from ema_server.demo.script import DemoStudy
from ema_server.embedded.stack import Stack
from ema_server.ledger import outbox
from ema_server.ledger.models import Job
from ema_server.reports import queries, tasks
from ema_server.reports.models import Report
from ema_server.reports.services import NIGHT, ask_for_night, compile_note
from ema_server.studies.models import Study
from ema_server.studies.services import lock_data

NIGHT_TAKES_AT_MOST = 600.0  # seconds; the usual is a few


class Command(BaseCommand):
    help = "Starts web, worker and beat, lets phones replay three studies, analyses the night and keeps serving."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--no-serve", action="store_true", help="end after the report, with everything stopped")
        parser.add_argument("--data", type=Path, help=f"the file of the student study, {student_life.FILE}")

    def handle(self, *args: Any, **options: Any) -> None:
        self.console = Console(highlight=False)
        studies = self._studies(options["data"])
        if not services.claim_the_demo():
            raise CommandError(
                "Another demo is running on this database. Stop it first (Ctrl-C there), then start again."
            )
        call_command("upgrade", verbosity=0)
        with Stack(port=options["port"], logs=settings.VAR / "logs", progress=self._say) as stack:
            if note := compile_note():
                self._say(f"Meanwhile in the worker: {note}")
            tasks.warm_up.delay()
            researcher, password = services.demo_researcher()
            receipts = {study.slug: self._phones(study, researcher, stack.address) for study in studies}
            reports = {study.slug: self._night(study) for study in studies}
            self._receipts(studies, receipts)
            for study in studies:
                self._findings(study, reports[study.slug])
            self._where(studies, stack.address, researcher.email, password, serving=not options["no_serve"])
            if not options["no_serve"]:
                stack.wait()
        self._say("Everything is stopped.")

    def _studies(self, data: Path | None) -> list[DemoStudy]:
        """The simulated study, the diaries, and the students' study where its file is."""
        if data is not None and not data.is_file():
            raise CommandError(f"DATA={data} is no file. Give the path of {student_life.FILE}, or leave DATA out.")
        reference = Path(os.environ.get("EMA_REFERENCE") or settings.BASE_DIR.parent / "shared" / "reference")
        found = data or reference / "data" / student_life.FILE
        studies = [support_stress.study(), migraine.study()]
        if found.is_file():
            return [*studies, student_life.study(found)]
        self._say(f"The students' study is left out: no file here. Add it with make demo DATA=PATH/{student_life.FILE}")
        return studies

    def _phones(self, study: DemoStudy, researcher: Any, address: str) -> Counter[str]:
        """Set the study up, then let its people's phones do what they did; its data are locked afterwards."""
        try:
            services.start_clean(study)
        except DomainError as error:
            raise CommandError(error.detail) from error
        with self._progress() as progress:
            bar = progress.add_task(f"{study.title}: phones", total=len(study.people))
            invited = services.set_up(study, researcher=researcher, now=clock.now())
            try:
                receipts = replay(study.slug, invited, address=address, each=lambda: progress.advance(bar))
            except (Later, NotUnderstood, Refused) as error:
                raise CommandError(f"A phone of {study.slug} was refused: {error}") from error
        services.date_back(study)
        lock_data(study=Study.objects.get(slug=study.slug), now=clock.now(), actor=researcher.audit_name)
        return receipts

    def _night(self, demo: DemoStudy) -> Report:
        """Ask for tonight in the outbox, ring the worker, and watch it."""
        study = Study.objects.get(slug=demo.slug)
        now = clock.now()
        with scope(study=study):
            job = ask_for_night(study=study, night=now.astimezone(ZoneInfo(study.zone)).date(), again=True)
        outbox.ring(NIGHT)
        with self._progress(bar=False) as progress:
            line = progress.add_task(f"{demo.title}: night", total=None)
            self._watch(job, lambda text: progress.update(line, description=f"{demo.title}: night, {text}"))
        with scope(study=study):
            report = queries.latest_report(study)
        if report is None:
            raise CommandError(
                f"The night of {demo.slug} failed: {job.last_error}. The worker's log is in {settings.VAR / 'logs'}."
            )
        return report

    def _watch(self, job: Job, show: Any) -> None:
        give_up = time.monotonic() + NIGHT_TAKES_AT_MOST
        while time.monotonic() < give_up:
            job.refresh_from_db()
            if job.done_at or job.last_error:
                return
            show(job.progress or "waiting for the worker")
            time.sleep(0.1)
        raise CommandError(
            f"No worker did the night within {NIGHT_TAKES_AT_MOST:.0f} s. Its log is in {settings.VAR / 'logs'}."
        )

    def _receipts(self, studies: Sequence[DemoStudy], receipts: dict[str, Counter[str]]) -> None:
        table = Table("receipts", title="What the phones were told", title_justify="left", box=None, pad_edge=False)
        kinds = ("stored", "duplicate", "conflict", "rejected")
        for kind in kinds:
            table.add_column(kind, justify="right")
        for study in studies:
            table.add_row(study.title, *(f"{receipts[study.slug][kind]:,}" for kind in kinds))
        self.console.print("\n", table, sep="")

    def _findings(self, study: DemoStudy, report: Report) -> None:
        """The night in words; for the simulated study the truth beside the estimates."""
        label = " (SIMULATED)" if study.simulated_truth else ""
        self.console.print(
            f"\n[bold]{study.title}{label}[/bold]  {report.n_rows:,} prompts read, {report.seconds:.1f} s"
        )
        for model in report.results["models"]:
            if model["role"] == "check":
                self.console.print(
                    f"  {model['title']}: {model['status']}, fit {'sound' if model.get('fit_sound') else 'not sound'}."
                )
                continue
            if model["status"] == "failed":
                self.console.print(f"  {model['title']} could not be fitted: {model['cause']}")
                continue
            for part in ("within", "between"):
                self.console.print(f"  {model[part]['sentence']}", soft_wrap=True)
            if model.get("truth"):
                self._truth(model["truth"])

    def _truth(self, rows: Sequence[dict[str, Any]]) -> None:
        table = Table("", title="The truth beside the estimates", title_justify="left", box=None, pad_edge=False)
        for name in ("truth", "estimate", "95 % interval"):
            table.add_column(name, justify="right")
        for row in rows:
            interval = "" if row.get("lower") is None else f"{_figure(row['lower'])} to {_figure(row['upper'])}"
            table.add_row(row["term"], _figure(row["truth"]), _figure(row["estimate"]), interval)
        self.console.print("\n", table, sep="")

    def _where(self, studies: Sequence[DemoStudy], address: str, email: str, password: str, *, serving: bool) -> None:
        self.console.print()
        for study in studies:
            self.console.print(f"Report   {address}/studies/{study.slug}/report/", soft_wrap=True)
        self.console.print(f"Login    {email}   {password}")
        self.console.print(
            "Serving; Ctrl-C stops everything." if serving else "Ended as asked (SERVE=0); make demo keeps serving."
        )

    def _progress(self, *, bar: bool = True) -> Progress:
        columns = [BarColumn(), MofNCompleteColumn()] if bar else []
        return Progress(
            SpinnerColumn(), TextColumn("{task.description}"), *columns, TimeElapsedColumn(), console=self.console
        )

    def _say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)


def _figure(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
