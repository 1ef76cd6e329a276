"""Which code made a number: the release and a digest of the sources that a night runs through."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import ema_server

_ROOT = Path(__file__).resolve().parent.parent.parent


@cache
def code_version() -> str:
    """For instance `0.1.0+3f9c0a1b2c3d`: the digest covers `analysis/` and `ema_server/reports/`, git or no git."""
    sha = hashlib.sha256()
    for folder in ("analysis", "ema_server/reports"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            sha.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{ema_server.__version__}+{sha.hexdigest()[:12]}"
