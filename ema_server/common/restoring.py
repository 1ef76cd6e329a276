"""What rooms do to data that come back from a backup, before anybody sees them."""

from __future__ import annotations

from collections.abc import Callable

_after: list[Callable[[], object]] = []


def after_restore(run: Callable[[], object]) -> None:
    """Register what runs inside the restore's own transaction, after the rows and before they can be read: for
    instance to erase again who was erased since the backup. Raising stops the restore, and nothing is changed."""
    if run not in _after:
        _after.append(run)


def run_after_restore() -> None:
    for run in _after:
        run()
