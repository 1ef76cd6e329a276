"""What the commands about questionnaires share: the documents in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from django.core.management.base import CommandError

from ema_server.surveys.exchange import CannotRead, read_file
from ema_server.surveys.typed import written


def documents_in(path: Path, *, tell: Callable[[str], object]) -> dict[str, str]:
    """The questionnaires of a file as JSON texts by their names; `tell` hears what could not be carried over."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}.") from error
    if path.suffix.lower() == ".json":  # as it was typed, so that faults have their lines
        try:
            return {path.stem: content.decode("utf-8-sig")}
        except UnicodeDecodeError as error:
            raise CommandError(f"{path}: byte {error.start + 1} is no UTF-8; save the file as UTF-8.") from error
    try:
        carried = read_file(path.name, content)
    except CannotRead as refused:
        raise CommandError(f"{path}: {refused.detail}") from refused
    for each in carried.lost:
        tell(f"not carried over: {each}")
    for note in carried.notes:
        tell(f"note: {note}")
    return {name: written(document) for name, document in carried.documents.items()}
