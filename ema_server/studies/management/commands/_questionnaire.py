"""What the commands about questionnaires share: the documents in a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from django.core.management.base import CommandError

from ema_server.surveys.exchange import CannotRead
from ema_server.surveys.files import texts_in


def documents_in(path: Path, *, tell: Callable[[str], object]) -> Mapping[str, str]:
    """The questionnaires of a file as JSON texts by their names; `tell` hears what could not be carried over."""
    try:
        brought = texts_in(path.name, path.read_bytes())
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}.") from error
    except CannotRead as refused:
        raise CommandError(f"{path}: {refused.detail}") from refused
    for each in brought.lost:
        tell(f"not carried over: {each}")
    for note in brought.notes:
        tell(f"note: {note}")
    return brought.texts
