"""A model field whose value is ciphertext in the database and text in Python."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from django.db import models
from django.db.models.query_utils import DeferredAttribute

from ema_server.common.errors import DomainError
from ema_server.vault import services
from ema_server.vault.sealing import CannotOpen


class Altered(DomainError, CannotOpen):
    """Somebody has changed a sealed value in the database itself."""

    code = "altered"
    status = 503


class Seal(NamedTuple):
    """Where a sealed value belongs: who owns its key, in which study, in which row. Known before the row is saved."""

    owner: UUID
    study_id: int
    row: str


class _SealedAttribute(DeferredAttribute):
    """Opens the value when it is read. What was assigned and not saved yet is text already."""

    field: SealedField

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        if instance is None or value is None or isinstance(value, str):
            return value
        return self.field.opened(bytes(value), instance.seal)

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class SealedField(models.BinaryField):  # type: ignore[type-arg]
    """Text under the key of the row's owner. The model has a property `seal` that says where the row belongs.

    Bytes that are no UTF-8 go in and out by `surrogateescape`. A sealed value cannot be searched or compared, and `update()` cannot write it: only `save`, `create` and
    `bulk_create` know the row to which it is bound.
    """

    descriptor_class = _SealedAttribute

    def sealed(self, text: str, seal: Seal) -> bytes:
        return services.seal(text.encode(errors="surrogateescape"), owner=seal.owner, context=self._context(seal))

    def opened(self, value: bytes, seal: Seal) -> str:
        try:
            return services.unseal(value, context=self._context(seal)).decode(errors="surrogateescape")
        except CannotOpen as error:
            raise Altered(
                f"{self.verbose_name}: what is stored was altered or moved since it was sealed, and cannot be opened. "
                "Tell the operator: manage.py verify_audit says whether the audit trail is whole."
            ) from error

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        value = model_instance.__dict__.get(self.attname)
        return self.sealed(value, model_instance.seal) if isinstance(value, str) else value

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if isinstance(value, str):
            raise TypeError(f"{self.name} is sealed: write it with save() or create(), not with update() or a filter.")
        return super().get_db_prep_value(value, connection, prepared)

    def _context(self, seal: Seal) -> str:
        return f"{self.model._meta.db_table}.{self.column}|{seal.row}|study {seal.study_id}"
