"""A failure in words that may be kept: what kind and where, never the values that it happened to."""

from __future__ import annotations

import traceback
from pathlib import Path

from ema_server.common.errors import DomainError

_ROOT = Path(__file__).resolve().parents[2]


def in_words(error: BaseException) -> str:
    """Our own errors with their sentence; any other by its type and place, since its message may hold anybody's data."""
    if isinstance(error, DomainError):
        return f"{type(error).__name__}: {error.detail}"
    return f"{type(error).__name__} at {place(error)}"


def place(error: BaseException) -> str:
    """File, line and function of the innermost step in our own code; without one, of the innermost step at all."""
    steps = traceback.extract_tb(error.__traceback__)
    if not steps:
        return "an unknown place"
    ours = [step for step in steps if _inside(step.filename)]
    step = (ours or list(steps))[-1]
    name = Path(step.filename)
    shown = name.relative_to(_ROOT).as_posix() if _inside(step.filename) else name.name
    return f"{shown}:{step.lineno} in {step.name}"


def _inside(filename: str) -> bool:
    path = Path(filename)
    return path.is_relative_to(_ROOT) and ".venv" not in path.parts
