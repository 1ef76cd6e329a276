"""`make prove`, or `make prove ONLY=coverage`, `convergence`, `zones`, `api` or `intake`."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a process each for the cores; must stand before numpy is imported

from proofs import api, convergence, coverage, intake, zones

PROOFS = {
    "convergence": convergence.prove,
    "coverage": coverage.prove,
    "zones": zones.prove,
    "api": api.prove,
    "intake": intake.prove,
}
PAGES = {
    "convergence": "convergence.md",
    "coverage": "coverage.md",
    "zones": "time.md",
    "api": "proofs.jsonl",
    "intake": "proofs.jsonl",
}


def main(chosen: list[str]) -> int:
    unknown = [name for name in chosen if name not in PROOFS]
    if unknown:
        print(f"ONLY={' '.join(unknown)} is no proof; there are {', '.join(PROOFS)}.", file=sys.stderr)
        return 2
    workers = os.cpu_count() or 1
    held = {}
    for name in chosen or PROOFS:
        print(f"{name}: running on {workers} processes …", flush=True)
        held[name] = PROOFS[name](workers)
        print(f"{name}: {'held' if held[name] else 'DID NOT HOLD'}; docs/{PAGES[name]}", flush=True)
    return 0 if all(held.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
