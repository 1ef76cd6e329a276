"""What the commands about many people share: a CSV file of who is in which arm, site, dyad and role."""

from __future__ import annotations

from pathlib import Path

from django.core.management.base import CommandError

from ema_server.common.csv_rows import CsvFault, open_csv
from ema_server.participants.models import PLACE


def read_places(path: str, *, place_needed: bool) -> dict[str, dict[str, str]]:
    """The file's rows by pseudonym: the columns that it has, and no others."""
    if not Path(path).is_file():
        raise CommandError(f"There is no file {path!r}.")
    rows: dict[str, dict[str, str]] = {}
    with open_csv(path) as table:
        unknown = [name for name in table.header if name not in {"person", *PLACE}]
        if "person" not in table.header or unknown or (place_needed and len(table.header) < 2):
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
