"""`manage.py rotate_keys`: wrap every data key with the newest master key, while the service runs."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ema_server.vault import services


class Command(BaseCommand):
    help = "Wraps every data key with the newest key of EMA_MASTER_KEY. Can be interrupted and run again."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            services.check_store()
            count = services.rotate_master_key()
        except services.KeyStoreFault as error:
            raise CommandError(error.detail) from error
        newest = next(iter(settings.MASTER_KEYS))
        if count == 0:
            self.stdout.write(f"Nothing to do: every data key is wrapped by master key {newest}, the newest, already.")
            return
        self.stdout.write(
            f"{count} data keys are now wrapped by master key {newest}. "
            f"Once no process uses the older keys any more, leave {newest}:… alone in EMA_MASTER_KEY."
        )
