"""The committed log of proofs: one JSON line each, appended by the machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine

ROOT = Path(__file__).resolve().parents[1]
LOG = ROOT / "docs" / "proofs.jsonl"


def append(proof: str, *, held: bool, seconds: float, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Add a line and return it."""
    line = {
        "proof": proof,
        "command": f"make prove ONLY={proof}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "held": held,
        "seconds": round(seconds),
        "machine": machine.facts(),
        "figures": figures,
    }
    with LOG.open("a") as log:
        log.write(json.dumps(line, ensure_ascii=False) + "\n")
    return line


def signature(line: Mapping[str, Any]) -> str:
    """Where a page's figures come from."""
    at = line["machine"]
    return (
        f"Written by `{line['command']}` on {line['date'][:10]} at commit {line['commit']}, in {line['seconds'] // 60} minutes on "
        f"{at['cpu']} with {at['cores']} cores; Python {at['python']}, numpy {at['numpy']}, scipy {at['scipy']}, numba "
        f"{at['numba']}. All figures, and those of earlier runs, are in `proofs.jsonl`."
    )
