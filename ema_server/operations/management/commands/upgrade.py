"""`manage.py upgrade`: bring both databases to this release, while the server serves; interrupted, run it again."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections

from ema_server.common.outage import sqlstate_of
from ema_server.vault.services import check_store

LOCK = 0x656D61  # "ema", the advisory lock's number
LOCK_TIMEOUT = "5s"  # a migration that waits for a table makes everybody behind it wait, too
STATEMENT_TIMEOUT = "30min"
ATTEMPTS = 12
LOCK_NOT_AVAILABLE = "55P03"


class Command(BaseCommand):
    help = "Checks the settings, then migrates the key store and the database. Safe while serving, safe to run again."
    requires_system_checks = "__all__"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--attempts", type=int, default=ATTEMPTS, help="how often a busy table is tried again")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["attempts"] < 1:
            raise CommandError(f"--attempts {options['attempts']} is none; write a whole number from 1.")
        with self._alone():
            for alias in sorted(connections, key=lambda alias: alias == "default"):  # the key store first
                self._migrate(alias, options["attempts"], options["verbosity"])
        check_store()  # a wrong master key or another key store is told here, before anything serves
        if options["verbosity"]:
            self.stdout.write("Both databases are as this release needs them.")

    def _migrate(self, alias: str, attempts: int, verbosity: int) -> None:
        """Each migration is a transaction: one that had to give up left nothing, and is tried again."""
        for attempt in range(1, attempts + 1):
            connection = connections[alias]
            try:
                with connection.cursor() as cursor:
                    cursor.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
                    cursor.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'")
                    cursor.execute("SET client_connection_check_interval = '2s'")  # killed, its statement ends, too
                call_command("migrate", database=alias, verbosity=verbosity, interactive=False, skip_checks=True)
                return
            except DatabaseError as error:
                if sqlstate_of(error) != LOCK_NOT_AVAILABLE:
                    raise
                self.stderr.write(
                    f"A table is in use by others; nothing was changed ({attempt} of {attempts} attempts)."
                )
                time.sleep(0 if attempt == attempts else min(attempt, 5))
            finally:
                connection.close()
        raise CommandError(
            f"The {alias} database was busy at each of {attempts} attempts. What was done is whole and stays; run manage.py upgrade "
            "again at a quieter time, or look for a long transaction in pg_stat_activity."
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Held by a connection of its own, so that it ends with this process, however that ends."""
        own = connections.create_connection("default")
        try:
            with own.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
                if not cursor.fetchone()[0]:
                    raise CommandError("Another upgrade is running on this database. Wait for it; nothing was changed.")
            yield
        finally:
            own.close()
