"""Questionnaires from and to other systems' files, as `ema-survey/1` documents: pure, no framework."""

from __future__ import annotations

from ema_server.surveys.exchange.carried import CannotRead, Carried, Lost

__all__ = ["CannotRead", "Carried", "Lost", "read_file"]


def read_file(name: str, content: bytes) -> Carried:
    """The questionnaires in a file, whose kind is recognised by its content; `CannotRead` where it is refused."""
    raise CannotRead("Questionnaires cannot be imported yet.")
