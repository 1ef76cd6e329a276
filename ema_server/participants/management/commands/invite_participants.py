"""`manage.py invite_participants STUDY people.csv --out codes.csv`: everybody of a file, each with a code for the app."""

from __future__ import annotations

import csv
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.participants.management.commands._places import read_places
from ema_server.participants.services import CODE_LIFETIME, invite_all
from ema_server.studies.commands import StudyCommand
from ema_server.studies.models import Study


class Command(StudyCommand):
    help = "Invites everybody of a CSV file and writes each person's single-use code, which the server does not keep."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name")
        parser.add_argument("file", help="a CSV file; its columns are person and any of arm, site, dyad, role")
        parser.add_argument("--out", type=Path, required=True, help="the file for the codes; it must not be there yet")

    def about(self, study: Study, **options: Any) -> None:
        now = clock.now()
        try:
            with transaction.atomic():
                rows = read_places(options["file"], place_needed=False)
                invited = invite_all(study=study, rows=rows, now=now, actor="server")
                self._write(options["out"], [(person.pseudonym, code) for person, code in invited])
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(
            f"{len(invited)} {'person is' if len(invited) == 1 else 'people are'} invited to {study.slug}; their codes are "
            f"in {options['out']} and nowhere else. Each lets one phone in, until {now + CODE_LIFETIME:%Y-%m-%d}."
        )

    def _write(self, path: Path, rows: list[tuple[str, str]]) -> None:
        """Before the invitations are kept: a code that could not be written down would be lost."""
        try:
            with open(
                path, "x", encoding="utf-8", newline="", opener=lambda name, how: os.open(name, how, 0o600)
            ) as file:
                csv.writer(file, lineterminator="\n").writerows([("person", "code"), *rows])
        except FileExistsError as error:
            raise CommandError(f"--out: {path} is there already and stays as it is; name another file.") from error
        except OSError as error:
            path.unlink(missing_ok=True)
            raise CommandError(f"--out: {path} cannot be written ({error.strerror}). Nobody was invited.") from error
