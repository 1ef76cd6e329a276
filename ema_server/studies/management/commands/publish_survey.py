"""`manage.py publish_survey STUDY FILE --questionnaire momentary [--yes]`: what would change, then the next version."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django_scopes import scope

from ema_server.common.errors import DomainError
from ema_server.studies import drafts, queries
from ema_server.studies.management.commands._questionnaire import documents_in
from ema_server.studies.models import Study
from ema_server.studies.services import publish_survey
from ema_server.surveys.changes import changes
from ema_server.surveys.typed import read_typed


class Command(BaseCommand):
    help = "Publishes a questionnaire from a file; without --yes it only says what would change."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name")
        parser.add_argument("file", type=Path, help="JSON, an XLSForm or a REDCap data dictionary")
        parser.add_argument(
            "--questionnaire", required=True, help="the questionnaire's short name, for instance momentary"
        )
        parser.add_argument("--yes", action="store_true", help="publish it")

    def handle(self, *args: Any, **options: Any) -> None:
        study = Study.objects.filter(slug=options["study"]).first()
        if study is None:
            known = ", ".join(Study.objects.order_by("slug").values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"There is no study {options['study']!r}; there are: {known}.")
        texts = documents_in(options["file"], tell=self.stdout.write)
        name = options["questionnaire"]
        text = next(iter(texts.values())) if len(texts) == 1 else texts.get(name)
        if text is None:
            raise CommandError(f"The file holds {', '.join(texts) or 'nothing'}; --questionnaire names none of them.")
        try:
            with scope(study=study):
                self._publish(study, drafts.check_name(name), text, really=options["yes"])
        except DomainError as error:
            raise CommandError(error.detail) from error

    def _publish(self, study: Study, name: str, text: str, *, really: bool) -> None:
        typed, current = read_typed(text), queries.survey_version(study, name, None)
        faults = drafts.faults_of(study, name, text, typed=typed, current=current)
        if faults or typed.document is None:
            raise CommandError("\n".join(["It cannot be published:", *map(str, faults)]))
        if current is None:
            self.stdout.write(f"{name} is new: {len(typed.document['items'])} items.")
        elif current.document == typed.document:
            self.stdout.write(f"Version {current.number} of {name} is this document already.")
            return
        else:
            self.stdout.write(f"Against version {current.number} of {name}:")
            for change in changes(current.document, typed.document):
                self.stdout.write(f"  {change}")
        if not really:
            self.stdout.write("Nothing was published; say --yes to do it.")
            return
        version = publish_survey(study=study, questionnaire=name, document=typed.document)
        self.stdout.write(f"Version {version.number} of {name} is published.")
        if version.survey.alerts and (missing := queries.alerts_without_card(study)):
            self.stdout.write(self.style.WARNING(f"Mind: {missing}"))
