"""`manage.py place_participants STUDY FILE.csv`: who is in which arm, site, dyad and role; all of the file or nothing."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from ema_server.common.errors import DomainError
from ema_server.participants.management.commands._places import read_places
from ema_server.participants.services import place_participants
from ema_server.studies.commands import StudyCommand
from ema_server.studies.models import Study


class Command(StudyCommand):
    help = "Puts people into arms, sites, dyads and roles from a CSV file: person, and any of arm, site, dyad, role."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name, for instance migraine")
        parser.add_argument("file", help="a CSV file; its columns are person and any of arm, site, dyad, role")

    def about(self, study: Study, **options: Any) -> None:
        try:
            moved = place_participants(
                study=study, rows=read_places(options["file"], place_needed=True), actor="server"
            )
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"{moved} {'person was' if moved == 1 else 'people were'} moved in {study.slug}.")
