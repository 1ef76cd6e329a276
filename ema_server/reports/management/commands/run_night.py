"""`manage.py run_night --study SLUG [--date 2026-03-15]`: analyse one night of one study."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import CommandError
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from ema_server.celery import app
from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.ledger import outbox
from ema_server.ledger.models import Job
from ema_server.reports import queries, services
from ema_server.studies.commands import StudyCommand, read_day
from ema_server.studies.models import Study

WORKER_ANSWERS_WITHIN = 2.0  # seconds


class Command(StudyCommand):
    help = "Asks for a study's night. A running analysis worker does it; where there is none, this process does."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--study", required=True, help="the study's short name, for instance migraine")
        parser.add_argument("--date", help="the local day that the night closes (default: today there)")

    def about(self, study: Study, **options: Any) -> None:
        now = clock.now()
        night = read_day("--date", options["date"]) if options["date"] else now.astimezone(ZoneInfo(study.zone)).date()
        try:
            job = services.ask_for_night(study=study, night=night, again=True)
        except DomainError as error:
            raise CommandError(error.detail) from error
        outbox.ring(services.NIGHT)
        if _a_worker_listens() or _leased(job):
            self._watch(job)
        else:
            self.stderr.write("No analysis worker is running; fitting here.")
            with suppress(Exception):  # written down with the job: told below
                services.run_next_night(key=job.key)
        job.refresh_from_db()
        report = queries.latest_report(study)
        if job.done_at is None or report is None or report.night != night:
            raise CommandError(f"The night of {night} gave no report: {Job.objects.get(pk=job.pk).last_error}")
        self.stdout.write(
            f"{study.slug}, night of {night}: {report.n_rows} rows read, {len(report.results['models'])} models, "
            f"{report.seconds:.1f} s, data {report.data_hash[:12]}. Read it at /studies/{study.slug}/report/"
        )

    def _watch(self, job: Job) -> None:
        """Show where the worker stands until it is done."""
        shown = ""
        while True:
            job.refresh_from_db()
            if job.progress and job.progress != shown:
                shown = job.progress
                self.stderr.write(f"  {shown}")
            if job.done_at or job.dead_at or (job.last_error and job.leased_until is None):
                return
            time.sleep(0.1)


def _a_worker_listens() -> bool:
    """Whether some worker takes work from the night's queue; a broker that is away counts as none."""
    queue = outbox.handler_of(services.NIGHT).queue
    try:
        answers = app.control.inspect(timeout=WORKER_ANSWERS_WITHIN).active_queues() or {}
    except (BrokerError, RedisError, OSError):
        return False
    return any(queue == listened["name"] for queues in answers.values() for listened in queues)


def _leased(job: Job) -> bool:
    job.refresh_from_db()
    return job.leased_until is not None or job.done_at is not None
