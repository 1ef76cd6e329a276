"""`manage.py backup --to DIR --keys-to DIR`: both stores into one file each, and the old files away."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ema_server.backup import catalog, services
from ema_server.backup.services import Taken
from ema_server.common import clock
from ema_server.common.errors import DomainError


class Command(BaseCommand):
    help = "Writes a backup of the main database, and of the key store to a folder of its own; removes old ones."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--to", type=Path, required=True, metavar="DIR", help="where the main database's backups lie"
        )
        parser.add_argument("--keys-to", type=Path, metavar="DIR", help="where the key store's backups lie: elsewhere")
        parser.add_argument("--keep-days", type=_days, default=timedelta(days=30), metavar="N", help="default: 30")
        parser.add_argument(
            "--keep-keys-days",
            type=_days,
            default=timedelta(days=7),
            metavar="N",
            help="default: 7. Until then a key that was destroyed can still be found in a backup",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        to, keys_to = options["to"].resolve(), options["keys_to"].resolve() if options["keys_to"] else None
        if keys_to == to:
            raise CommandError(
                f"--to and --keys-to are both {to}: a backup of the answers must not lie beside the keys that open it. "
                "Name another folder, best on another machine."
            )
        try:
            main = self._take("main", to, options["keep_days"])
            keys = self._take("keys", keys_to, options["keep_keys_days"]) if keys_to else None
            services.leave_marker(now=clock.now(), main=main, keys=keys)
        except DomainError as error:
            raise CommandError(error.detail) from error
        if keys_to is None:
            self.stderr.write(
                "The key store was not backed up: without it nobody can be identified. Add --keys-to DIR."
            )

    def _take(self, store: str, folder: Path, keep: timedelta) -> Taken:
        """The main database first: whatever key its rows need is in the key store's later file."""
        now = clock.now()
        services.prepare_folder(folder)
        with _progress() as bar:
            line = bar.add_task(f"Reading the {catalog.NAMES[store]}", total=None)
            taken = services.back_up(
                store,
                folder=folder,
                now=now,
                progress=lambda table, before, total, rows: bar.update(
                    line, description=table, completed=before + rows, total=max(before + rows, total)
                ),
            )
            bar.update(line, description="Reading it back")
            services.read_back(taken, store=store)
        services.copy_register(folder)
        removed = services.remove_old(folder, store=store, keep=keep, now=now)
        self.stdout.write(f"{taken.path}: {taken.rows:,} rows, {taken.bytes / 1e6:,.1f} MB")
        if removed:
            self.stdout.write(
                f"{len(removed)} removed that {'was' if len(removed) == 1 else 'were'} older than {keep.days} days"
            )
        return taken


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} rows"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _days(text: str) -> timedelta:
    if not text.isdecimal() or not 1 <= int(text) <= 36_500:
        raise ArgumentTypeError(f"{text!r} is no number of days; write a whole number from 1 to 36500")
    return timedelta(days=int(text))
