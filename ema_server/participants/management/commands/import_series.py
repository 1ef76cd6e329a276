"""`manage.py import_series STUDY FILE --name steps`: measurements by person and time from a CSV."""

from __future__ import annotations

import hashlib
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from ema_server.common.csv_rows import CsvFault, open_csv, shortened
from ema_server.common.errors import DomainError
from ema_server.common.zones import is_zone
from ema_server.participants import person_data
from ema_server.participants.series import ReadSeries, SeriesReading, read_series
from ema_server.studies.commands import StudyCommand
from ema_server.studies.models import Study

SHOWN = 20  # people that are listed; the others are counted


class Command(StudyCommand):
    help = "Reads a sensor's or other measurements, tells what was understood, and stores a new version of the series."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name, for instance migraine")
        parser.add_argument("file", type=Path, help="the CSV file")
        parser.add_argument("--name", required=True, help="of the series, for instance steps; plans use it")
        parser.add_argument("--dry-run", action="store_true", help="tell the same and store nothing")
        parser.add_argument("--person", metavar="COLUMN", help="the column of pseudonyms")
        parser.add_argument("--time", metavar="COLUMN", help="the column of times")
        parser.add_argument("--zone", help="of times without an offset, for instance Europe/Amsterdam")
        parser.add_argument(
            "--repeated-hour", choices=["first", "second"], help="as the clocks go back, which one is meant"
        )
        parser.add_argument("--column", action="append", default=[], help="of values; without it, all others")
        parser.add_argument("--unit", action="append", default=[], metavar="COLUMN=UNIT", help="what its numbers count")
        parser.add_argument(
            "--missing", action="append", default=[], metavar="WORD", help="a word that means missing too"
        )
        parser.add_argument("--dates", choices=["dmy", "mdy", "ymd"], help="the order of day, month and year")
        parser.add_argument("--decimal", choices=["point", "comma"], help="of the numbers, where it is not clear")
        parser.add_argument("--encoding", help="of the file, for instance cp1252 (default: UTF-8)")
        parser.add_argument("--delimiter", help="between cells, where it is not clear")

    def about(self, study: Study, **options: Any) -> None:
        try:
            series = _read(study, options)
            self._tell(series)
            if options["dry_run"]:
                self.stdout.write("Nothing was stored (--dry-run).")
                return
            with open(options["file"], "rb") as file:
                source = hashlib.file_digest(file, "sha256").hexdigest()
            stored = person_data.import_series(study=study, name=options["name"], series=series, source=source)
        except DomainError as error:
            raise CommandError(f"{error.detail}\nNothing was stored.") from error
        except OSError as error:
            raise CommandError(f"{error.filename} cannot be read: {error.strerror}.") from error
        self.stdout.write(f"Version {stored.number} of {stored.name} is what the next night reads.")

    def _tell(self, series: ReadSeries) -> None:
        columns = ", ".join(
            f"{each['name']} ({each['unit']})" if each["unit"] else each["name"] for each in series.columns
        )
        self.stdout.write(
            f"{series.rows} rows read ({series.described}): person {series.person}, time {series.time}, values {columns}."
        )
        lost = sum(count for count, _ in series.unknown.values())
        self.stdout.write(
            f"{series.rows - lost} rows of {len(series.people)} participants; {lost} rows belong to nobody; "
            f"{series.missing} values are missing."
        )
        for pseudonym, (count, first) in list(series.unknown.items())[:SHOWN]:
            self.stdout.write(f"  nobody: {shortened(pseudonym)!r}, {count} rows, the first is row {first}")
        if len(series.unknown) > SHOWN:
            self.stdout.write(f"  … and {len(series.unknown) - SHOWN} more")
        if series.repeated:
            self.stdout.write(f"{series.repeated} times of the hour that happened twice were read as you said.")


def _read(study: Study, options: dict[str, Any]) -> ReadSeries:
    if options["zone"] and not is_zone(options["zone"]):
        raise CommandError(f"--zone {options['zone']!r} is no IANA time zone; write one like Europe/Amsterdam.")
    units = dict(text.rpartition("=")[::2] for text in options["unit"])
    if "" in units:
        raise CsvFault(f"--unit {options['unit'][0]!r}: write COLUMN=UNIT.")
    said = SeriesReading(
        person=options["person"],
        time=options["time"],
        zone=options["zone"],
        columns=tuple(options["column"]),
        units=units,
        missing=tuple(options["missing"]),
        dates=options["dates"],
        repeated=options["repeated_hour"],
    )
    known = set(study.participants.values_list("pseudonym", flat=True))
    how = {name: options[name] for name in ("encoding", "delimiter", "decimal")}
    with open_csv(options["file"], **how) as rows:
        return read_series(rows, known, said)
