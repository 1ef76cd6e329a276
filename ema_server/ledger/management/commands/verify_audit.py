"""`manage.py verify_audit [--chain NAME]`: whether the audit trail is as it was written."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ema_server.ledger import audit


class Command(BaseCommand):
    help = (
        "Checks every audit chain against its hashes and its anchors in the key store; ends with 1 if one was altered."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--chain", help="only this one, for instance 'study 3' or 'server'")

    def handle(self, *args: Any, **options: Any) -> None:
        chains = audit.chains()
        if options["chain"] is not None:
            if options["chain"] not in chains:
                raise CommandError(f"There is no chain {options['chain']!r}; there are: {', '.join(chains) or 'none'}.")
            chains = [options["chain"]]
        faults = [fault for chain in chains for fault in audit.verify(chain)]
        for fault in faults:
            self.stderr.write(f"{fault.chain}: {fault.detail}")
        if faults:
            raise CommandError(f"{len(faults)} faults: the audit trail is not as it was written.")
        self.stdout.write(f"{len(chains)} chains, all as they were written.")
