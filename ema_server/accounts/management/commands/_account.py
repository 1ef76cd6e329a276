"""What commands about one account share."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from ema_server.accounts.models import User


class AccountCommand(BaseCommand):
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email", help="the account's e-mail address")
        parser.add_argument("--reason", default="by command", help="why; kept in the record of changes")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(email__iexact=options["email"]).first()
        if user is None:
            raise CommandError(f"There is no account {options['email']!r}. Accounts are listed at /admin/.")
        self.stdout.write(self.done(user, options["reason"]))

    def done(self, user: User, reason: str) -> str:
        raise NotImplementedError
