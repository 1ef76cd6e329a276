"""Which names are time zones."""

from __future__ import annotations

from functools import cache
from typing import Any
from zoneinfo import available_timezones


@cache
def _known() -> frozenset[str]:
    return frozenset(available_timezones() - {"Factory", "localtime"})  # neither is a place


def is_zone(name: Any) -> bool:
    """Whether this is an IANA zone. Files that lie beside them ("posixrules", "right/…", which counts leap seconds) are none."""
    return isinstance(name, str) and name in _known()
