"""`manage.py latest_report SLUG [--json]`: what the newest night found."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from ema_server.reports import queries
from ema_server.studies.commands import StudyCommand
from ema_server.studies.models import Study


class Command(StudyCommand):
    help = "Prints the stored results of a study's newest night: the findings in words, or everything as JSON."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name, for instance migraine")
        parser.add_argument("--json", action="store_true", help="every stored figure, for machines")

    def about(self, study: Study, **options: Any) -> None:
        report = queries.latest_report(study)
        if report is None:
            raise CommandError(f"{study.slug} has no report yet; make one: manage.py run_night --study {study.slug}")
        content = queries.report_as_json(report)
        if options["json"]:
            self.stdout.write(json.dumps(content, indent=2, ensure_ascii=False))
            return
        self.stdout.write(f"{study.title}, night of {report.night} ({report.n_rows} rows read)")
        for model in content["models"]:
            self.stdout.write(f"\n{model['title']}\n  {model.get('finding') or model.get('cause')}")
            for part in ("within", "between"):
                if model.get(part):
                    self.stdout.write(f"  {model[part]['sentence']}")
        self.stdout.write(f"\ndata {report.data_hash}\nplan {report.plan_hash}\ncode {report.code_version}")
