"""Keys live in a database of their own, so that a backup of the answers never holds what opens them."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

KEYS = "keys"


class KeyStoreRouter:
    """The vault's tables are in the key store, and nothing else is."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return KEYS if model._meta.app_label == "vault" else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return (db == KEYS) == (app_label == "vault")
