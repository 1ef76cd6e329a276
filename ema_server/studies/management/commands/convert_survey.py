"""`manage.py convert_survey FILE --to DIR`: an XLSForm, a REDCap data dictionary or our JSON as questionnaires of ours."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ema_server.surveys.exchange import MAX_BYTES, CannotRead, Carried, as_json, read_file


class Command(BaseCommand):
    help = "Converts a questionnaire of another system into our JSON, and tells what could not be carried over."
    requires_system_checks: list[str] = []  # no database, no settings: a file in, files out

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", type=Path, help="an XLSForm (.xlsx, .xls, .csv), a REDCap data dictionary (.csv), or JSON"
        )
        where = parser.add_mutually_exclusive_group(required=True)
        where.add_argument(
            "--to", type=Path, metavar="DIR", help="writes a file for each questionnaire into this folder"
        )
        where.add_argument("--out", type=Path, metavar="FILE.json", help="writes the one questionnaire into this file")

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        try:
            with file.open("rb") as opened:
                carried = read_file(file.name, opened.read(MAX_BYTES + 1))
            written = _write(carried, options["to"], options["out"])
        except CannotRead as error:
            raise CommandError(error.detail) from error
        except OSError as error:
            raise CommandError(f"{error.filename or file}: {error.strerror}.") from error
        self._report(carried, written)

    def _report(self, carried: Carried, written: dict[str, Path]) -> None:
        console = Console(file=self.stdout, highlight=False)  # type: ignore[arg-type]
        for name, path in written.items():
            items = len(carried.documents[name].get("items", ()))
            console.print(
                f"[bold]{escape(name)}[/]: {items} item{'' if items == 1 else 's'} → {escape(str(path))}",
                soft_wrap=True,
            )
        if carried.lost:
            table = Table(
                title=f"\nNot carried over as it was: {len(carried.lost)}",
                title_justify="left",
                box=None,
                pad_edge=False,
            )
            for heading in ("place", "what it was", "what became of it"):
                table.add_column(heading, overflow="fold", header_style="bold")
            for lost in carried.lost:
                table.add_row(escape(lost.place), escape(lost.what), escape(lost.became))
            console.print(table)
        else:
            console.print("Everything was carried over.")
        for note in carried.notes:
            console.print(f"• {escape(note)}")


def _write(carried: Carried, folder: Path | None, single: Path | None) -> dict[str, Path]:
    """Where each questionnaire was written. Nothing is written before all can be."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        places = {name: folder / f"{name}.json" for name in carried.documents}
    elif single is not None and len(carried.documents) == 1:
        places = dict.fromkeys(carried.documents, single)
    else:
        raise CannotRead(
            f"--out: the file holds {len(carried.documents)} questionnaires ({', '.join(carried.documents)}); use --to DIR."
        )
    texts = {name: as_json.write(document) for name, document in carried.documents.items()}
    for name, text in texts.items():
        places[name].write_text(text, encoding="utf-8")
    return places
