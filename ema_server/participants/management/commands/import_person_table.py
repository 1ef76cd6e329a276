"""`manage.py import_person_table STUDY FILE [--dry-run]`: baseline covariates from a CSV, such as REDCap's export."""

from __future__ import annotations

import hashlib
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from ema_server.common.csv_rows import open_csv
from ema_server.common.errors import DomainError
from ema_server.participants import person_data, person_table, queries, redcap
from ema_server.participants.person_columns import KINDS
from ema_server.participants.person_table import Reading, ReadTable
from ema_server.studies.commands import StudyCommand
from ema_server.studies.models import Study

SHOWN = 20  # rows that are listed; the others are counted


class Command(StudyCommand):
    help = "Reads one row of covariates for each participant, tells what was understood, and stores a new version."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name, for instance migraine")
        parser.add_argument("file", type=Path, help="the CSV file")
        parser.add_argument("--dry-run", action="store_true", help="tell the same and store nothing")
        parser.add_argument("--person", metavar="COLUMN", help="the column of pseudonyms (default: the first)")
        parser.add_argument("--event", help="of several redcap_event_name, the one that holds the baseline")
        parser.add_argument("--type", action="append", default=[], metavar="COLUMN=TYPE", help=", ".join(KINDS))
        parser.add_argument(
            "--missing", action="append", default=[], metavar="WORD", help="a word that means missing too"
        )
        parser.add_argument("--dates", choices=["dmy", "mdy", "ymd"], help="the order of day, month and year")
        parser.add_argument("--without", action="append", default=[], metavar="COLUMN", help="leave this column out")
        parser.add_argument(
            "--allow", action="append", default=[], metavar="COLUMN", help="keep it: it identifies nobody"
        )
        parser.add_argument(
            "--dictionary", type=Path, metavar="FILE", help="a REDCap data dictionary: labels and levels"
        )
        parser.add_argument("--decimal", choices=["point", "comma"], help="of the numbers, where it is not clear")
        parser.add_argument("--encoding", help="of the file, for instance cp1252 (default: UTF-8)")
        parser.add_argument("--delimiter", help="between cells, where it is not clear")

    def about(self, study: Study, **options: Any) -> None:
        try:
            table = _read(study, options)
            preview = queries.preview_person_table(study, table)
            for line in _lines(preview):
                self.stdout.write(line)
            if options["dry_run"]:
                self.stdout.write("Nothing was stored (--dry-run).")
                return
            source = hashlib.sha256(options["file"].read_bytes()).hexdigest()
            stored = person_data.import_person_table(study=study, table=table, source=source)
        except DomainError as error:
            raise CommandError(f"{error.detail}\nNothing was stored.") from error
        except OSError as error:
            raise CommandError(f"{error.filename} cannot be read: {error.strerror}.") from error
        self.stdout.write(f"Version {stored.number} is what the next night reads; its digest is {stored.digest}.")


def _read(study: Study, options: dict[str, Any]) -> ReadTable:
    said = Reading(
        person=options["person"],
        event=options["event"],
        types=person_table.kinds_said(options["type"]),
        missing=tuple(options["missing"]),
        dates=options["dates"],
        without=frozenset(options["without"]),
        allow=frozenset(options["allow"]),
    )
    dictionary = None
    if options["dictionary"]:
        with open_csv(options["dictionary"]) as rows:
            dictionary = redcap.read_dictionary(rows)
    how = {name: options[name] for name in ("encoding", "delimiter", "decimal")}
    with open_csv(options["file"], **how) as rows:
        return person_table.read_table(rows, said, dictionary=dictionary, taken=queries.taken_names(study))


def _lines(preview: queries.Preview) -> Iterator[str]:
    """The report, as people read it."""
    table, match = preview.table, preview.match
    yield f"{len(table.row_numbers)} rows read ({table.described}); pseudonyms are in the column {table.person}."
    yield f"{len(match.matched)} belong to participants, {len(match.unknown)} to nobody, {len(match.without_row)} participants have no row."
    for unknown in match.unknown[:SHOWN]:
        yield f"  nobody: {person_table.told(unknown)}"
    if len(match.unknown) > SHOWN:
        yield f"  … and {len(match.unknown) - SHOWN} more"
    if match.without_row:
        more = len(match.without_row) - SHOWN
        yield f"  no row: {', '.join(match.without_row[:SHOWN])}{f' … and {more} more' if more > 0 else ''}"
    yield "Columns:"
    for column in table.columns:
        missing = sum(table.missing.get(column.name, {}).values())
        levels = f": {', '.join(value for value, _ in column.levels[:8])}{' …' if len(column.levels) > 8 else ''}"
        yield f"  {column.name:24} {column.type}{levels if column.levels else ''}{f'; {missing} missing' if missing else ''}"
    for name, why in table.left_out.items():
        yield f"  {name:24} left out: {why}"
    yield from table.notes
    if preview.changes:
        yield preview.changes.in_words()
