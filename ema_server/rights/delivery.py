"""A person's data from beginning to end: written down, read from one snapshot, handed on byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from django_scopes import scope

from ema_server.common.snapshot import snapshot
from ema_server.participants.models import Device
from ema_server.rights import files
from ema_server.rights.services import begin_own_export


class Delivery:
    """Its bytes, once."""

    def __init__(self, *, device: Device, form: files.Form, now: datetime) -> None:
        self._person = begin_own_export(device=device, form=form)
        self._form, self._now = form, now

    @property
    def name(self) -> str:
        return f"my-data-{self._person.study.slug}-{self._now:%Y-%m-%d}.{files.ENDINGS[self._form]}"

    def __iter__(self) -> Iterator[bytes]:
        """No scope is open while bytes are handed on."""
        study = self._person.study
        with snapshot():
            parts = files.written(self._person, self._form, now=self._now)
            while True:
                with scope(study=study):
                    part = next(parts, None)
                if part is None:
                    return
                if part:
                    yield part
