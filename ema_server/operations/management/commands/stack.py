"""`manage.py stack`: the processes of a server on this machine, without containers, until it is stopped."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from ema_server.embedded import EmbeddedError
from ema_server.embedded.stack import Stack


class Command(BaseCommand):
    help = "Starts proxy, web, worker, analysis worker and beat, and serves until Ctrl-C or SIGTERM."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # asked to stop, it stops all and has done well
        whole = Stack(port=options["port"], logs=settings.VAR / "logs", whole=True, progress=self._say)
        try:
            whole.refuse_a_port_in_use()  # before the database is touched, which may be another server's
            call_command("upgrade", verbosity=options["verbosity"])
            with whole as stack:
                self._say(f"Serving on {stack.address}; logs are in {settings.VAR / 'logs'}. Ctrl-C stops it.")
                stack.wait()
        except EmbeddedError as error:
            raise CommandError(str(error)) from error

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
