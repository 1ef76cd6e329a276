"""`manage.py restore FILE --keys FILE`: fill an empty database, and an empty key store, from their backups."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ema_server.backup import restoring
from ema_server.common.errors import DomainError


class Command(BaseCommand):
    help = "Restores a backup into an empty database; refuses, with nothing changed, whatever is not sound."
    requires_system_checks = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="the main database's backup")
        parser.add_argument(
            "--keys", type=Path, metavar="FILE", help="the key store's backup, where the store is lost too"
        )
        parser.add_argument(
            "--without-keys",
            action="store_true",
            help=f"restore although these stay unreadable: {restoring.UNREADABLE_WITHOUT_KEYS}",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["keys"] and options["without_keys"]:
            raise CommandError("--keys and --without-keys exclude each other; give one of them.")
        started = time.monotonic()
        try:
            with _progress() as bar:
                line = bar.add_task("Checking the backup", total=None)
                done = restoring.restore(
                    options["file"],
                    keys=options["keys"],
                    without_keys=options["without_keys"],
                    progress=lambda table, rows, total: bar.update(
                        line, description=table, completed=rows, total=total or None
                    ),
                )
        except DomainError as error:
            raise CommandError(error.detail) from error
        if done.migrated:
            restoring.finish_schema()
        rows = sum(done.rows.values())
        self.stdout.write(
            f"Restored {rows:,} rows in {time.monotonic() - started:.1f} s"
            + (f"; {done.migrated} newer migrations applied" if done.migrated else "")
            + (f"; {done.erased} who were erased stay erased" if done.erased else "")
            + ". The service may be started."
        )
        if done.register_from:
            self.stderr.write(
                f"Who was erased after {done.register_from} may be back: the register of erasures came with the backup. If the "
                "lost server's erasures.jsonl (in its EMA_VAR) can still be had, put it beside the backup and restore again into "
                "empty databases; else erase them again."
            )
        if options["without_keys"]:
            self.stderr.write(f"Without the key store these cannot be read: {restoring.UNREADABLE_WITHOUT_KEYS}.")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=Console(stderr=True), transient=True
    )
