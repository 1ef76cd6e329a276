"""Which key store belongs to this database: written down when the first key is needed, compared ever after."""

from __future__ import annotations

from uuid import UUID

from django.db import connection

from ema_server.ledger.models import KeyStoreBond


def bind(store: UUID | None) -> UUID | None:
    """The name of the key store that belongs here; where none is known, the one that is given is kept."""
    if not _has_table():  # before the first migration, or in the midst of a restore
        return None
    known = KeyStoreBond.objects.values_list("store", flat=True).first()
    if known is None and store is not None:
        known = KeyStoreBond.objects.get_or_create(only=True, defaults={"store": store})[0].store
    return known


def loosen() -> None:
    """The key store is lost for good and somebody has said so: whichever is used next is bound."""
    KeyStoreBond.objects.all().delete()


def _has_table() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [KeyStoreBond._meta.db_table])
        return bool(cursor.fetchone()[0])
