"""What rooms do to data that come back from a backup, before anybody sees them."""

from __future__ import annotations

from collections.abc import Callable

from django.utils.module_loading import import_string

_after: list[Callable[[], object] | str] = []


def after_restore(run: Callable[[], object] | str) -> None:
    """Register (by its dotted name, from `apps.ready()`) what runs inside the restore's own transaction, when the rows
    are there and cannot be read yet: to erase again who was erased since. Raising stops the restore; nothing is changed."""
    if run not in _after:
        _after.append(run)


def run_after_restore() -> None:
    for run in _after:
        (import_string(run) if isinstance(run, str) else run)()
