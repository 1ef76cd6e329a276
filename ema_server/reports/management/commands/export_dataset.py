"""`manage.py export_dataset SLUG --out FILE.csv`: exactly the rows that the newest night read."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from ema_server.reports import dataset, queries
from ema_server.studies.commands import StudyCommand
from ema_server.studies.models import Study


class Command(StudyCommand):
    help = "Writes the rows that the newest night read, one per prompt; the file's SHA-256 is its data hash."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name, for instance migraine")
        parser.add_argument("--out", required=True, type=Path, help="the CSV file to write")

    def about(self, study: Study, **options: Any) -> None:
        report = queries.latest_report(study)
        if report is None:
            raise CommandError(f"{study.slug} has no report yet; make one: manage.py run_night --study {study.slug}")
        frame = dataset.load(study, report.cutoff, report.plan.document)
        content = dataset.as_csv(frame)
        try:
            options["out"].write_bytes(content)
        except OSError as error:
            raise CommandError(
                f"{options['out']} cannot be written: {error.strerror}. Name a file in a folder that you may write to."
            ) from error
        same = dataset.data_hash(frame) == report.data_hash
        self.stdout.write(f"{len(frame)} rows, {len(frame.columns)} columns → {options['out']}")
        if not same:
            self.stderr.write(
                "These rows differ from those that the report read (its data hash is "
                f"{report.data_hash[:12]}): something was withdrawn or corrected since."
            )
