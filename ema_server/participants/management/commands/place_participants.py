"""`manage.py place_participants STUDY FILE.csv`: who is in which arm, site, dyad and role; all of the file or nothing."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from ema_server.common.csv_rows import CsvFault, open_csv
from ema_server.common.errors import DomainError
from ema_server.participants.models import PLACE
from ema_server.participants.services import place_participants
from ema_server.studies.commands import StudyCommand
from ema_server.studies.models import Study


class Command(StudyCommand):
    help = "Puts people into arms, sites, dyads and roles from a CSV file: person, and any of arm, site, dyad, role."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name, for instance migraine")
        parser.add_argument("file", help="a CSV file; its columns are person and any of arm, site, dyad, role")

    def about(self, study: Study, **options: Any) -> None:
        if not Path(options["file"]).is_file():
            raise CommandError(f"There is no file {options['file']!r}.")
        try:
            moved = place_participants(study=study, rows=read_places(options["file"]), actor="server")
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"{moved} {'person was' if moved == 1 else 'people were'} moved in {study.slug}.")


def read_places(path: str) -> dict[str, dict[str, str]]:
    """The file's rows by pseudonym: the columns that it has, and no others."""
    rows: dict[str, dict[str, str]] = {}
    with open_csv(path) as table:
        unknown = [name for name in table.header if name not in {"person", *PLACE}]
        if "person" not in table.header or unknown or len(table.header) < 2:
            column = unknown[0] if unknown else None
            raise CsvFault(f"the columns must be person and any of {', '.join(PLACE)}.", row=1, column=column)
        for number, cells in table:
            row = {name: cell.strip() for name, cell in zip(table.header, cells, strict=True)}
            person = row.pop("person")
            if not person or person in rows:
                why = "is there twice; give each person one row." if person else "a pseudonym is needed."
                raise CsvFault(why, row=number, column="person", value=person or None)
            rows[person] = row
    return rows
