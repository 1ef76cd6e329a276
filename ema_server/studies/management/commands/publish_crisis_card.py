"""`manage.py publish_crisis_card STUDY card.json`: whom people can turn to at once, as phones show it."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from ema_server.common.errors import DomainError
from ema_server.studies.commands import StudyCommand, as_list, read_json
from ema_server.studies.crisis import card_faults
from ema_server.studies.models import Study
from ema_server.studies.services import publish_crisis_card


class Command(StudyCommand):
    help = "Publishes the crisis card of a study from a JSON file: title, text and contacts in each language."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name")
        parser.add_argument("file", type=Path, help="JSON; docs/questionnaires.md, Alerts, shows one")

    def about(self, study: Study, **options: Any) -> None:
        card = read_json(options["file"])
        if found := card_faults(card):
            raise CommandError(as_list("It cannot be published:", found))
        try:
            version = publish_crisis_card(study=study, card=card, actor="server")
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"Version {version.number} of the crisis card holds now ({', '.join(version.card)}).")
