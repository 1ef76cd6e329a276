"""The one decorator that turns a Python loop into a kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

Loop = TypeVar("Loop", bound=Callable[..., object])


def compiled(loop: Loop) -> Loop:
    """Compile with numba at the first call and keep the result on disk. No fastmath: it breaks the rules for NaN."""
    return cast(Loop, njit(cache=True)(loop))
