"""`manage.py export_dataset SLUG --out FILE`: exactly the rows that the newest night read, or the answers one by one."""

from __future__ import annotations

import errno
import shutil
import signal
import sys
import tempfile
from argparse import ArgumentParser
from datetime import datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import CommandError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.common.whole_file import whole_file
from ema_server.exports import files, queries
from ema_server.exports.delivery import Delivery
from ema_server.exports.models import Export
from ema_server.studies.commands import StudyCommand
from ema_server.studies.models import Study


class Command(StudyCommand):
    help = "Writes a study's data: by default the rows that the newest night read, whose CSV file has its data hash."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name, for instance migraine")
        parser.add_argument(
            "--out",
            required=True,
            type=Path,
            metavar="FILE|DIR",
            help="the file to write, or a folder for one with a name of its own",
        )
        parser.add_argument(
            "--shape", choices=Export.Shape.values, default="prompts", help="what a row is (default: prompts)"
        )
        parser.add_argument("--format", choices=Export.Format.values, help="default: by the file's ending")
        parser.add_argument(
            "--cutoff",
            metavar="TIME",
            help="what was known then (default: the newest report's): 2026-03-15, or with a time",
        )
        parser.add_argument(
            "--with-text", action="store_true", help="with free text and sensitive answers, which are sealed"
        )

    def about(self, study: Study, **options: Any) -> None:
        out: Path = options["out"]
        format = options["format"] or _format_of(out)
        state = queries.state_of(study, now=clock.now(), cutoff=_moment(options["cutoff"], study))
        if state.data_hash is None and options["cutoff"] is None:
            self.stderr.write(f"{study.slug} has no report yet: these are the data as they are now.")
        with Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
            console=Console(stderr=True),
        ) as bar:  # fmt: skip
            line = bar.add_task("Reading", total=None)
            try:
                delivery = Delivery(
                    study=study, shape=options["shape"], format=format, state=state, with_text=options["with_text"],
                    by=None, actor="server",
                    progress=lambda done, of: bar.update(line, completed=done, total=max(of, 1)),
                )  # fmt: skip
            except DomainError as error:
                raise CommandError(error.detail) from error
            path = out / delivery.name if out.is_dir() else out
            _write(path, delivery, with_text=options["with_text"])
        export = delivery.export
        self.stdout.write(f"{export.rows} rows, {delivery.columns} columns → {path}")
        if (
            format == Export.Format.CSV
            and export.shape == Export.Shape.PROMPTS
            and state.data_hash not in (None, export.digest)
        ):
            self.stderr.write(
                "These rows differ from those that the report read (its data hash is "
                f"{str(state.data_hash)[:12]}): something was withdrawn or corrected since."
            )


def _write(path: Path, delivery: Delivery, *, with_text: bool) -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the blocks, so that nothing half-done stays
    size = 0
    try:
        with whole_file(path, mode=0o600 if with_text else 0o666) as file:
            for part in delivery:
                file.write(part)
                size += len(part)
    except DomainError as error:
        raise CommandError(error.detail) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CommandError(_full(path, size)) from error
        raise CommandError(
            f"{path} cannot be written: {error.strerror}. Name a file in a folder that you may write to."
        ) from error
    finally:
        signal.signal(signal.SIGTERM, before)


def _full(path: Path, size: int) -> str:
    here, there = path.resolve().parent, Path(tempfile.gettempdir())
    free = [
        f"{folder} has {shutil.disk_usage(folder).free / 1e6:,.0f} MB free" for folder in dict.fromkeys((here, there))
    ]
    return (
        f"The disk is full after {size / 1e6:,.0f} MB; more than that is needed, for SPSS and bundles as much again in the "
        f"folder of temporary files (TMPDIR). Nothing was left behind; {', '.join(free)}."
    )


def _format_of(out: Path) -> str:
    if out.is_dir():
        return Export.Format.CSV
    known = {ending: format for format, ending in files.ENDINGS.items()}
    if out.suffix.lower() not in known:
        raise CommandError(
            f"--out {out}: from its ending {out.suffix!r} nobody can tell the format; end it with "
            f"{', '.join(known)}, or say --format."
        )
    return known[out.suffix.lower()]


def _moment(text: str | None, study: Study) -> datetime | None:
    """A time, in the study's zone where it names none; a day means its end."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(
            f"--cutoff {text!r} is no time; write one like 2026-03-15 (the end of that day) or 2026-03-15T12:00:00+01:00."
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(study.zone))
    if len(text) == 10:
        moment = datetime.combine(moment.date(), time.max, ZoneInfo(study.zone))
    return moment
