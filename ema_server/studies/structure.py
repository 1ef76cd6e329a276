"""The parts of a study: its arms, its sites, and the roles within a dyad. Pure rules.

{"arms": [{"key": "treatment", "title": "Treatment"}, …], "sites": […], "roles": […]}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PARTS = ("arms", "sites", "roles")
KEY = re.compile(r"[\w.\-]+( [\w.\-]+)*")
MAX_KEY = 40
MAX_TITLE = 200
MAX_ENTRIES = 200


def structure_faults(structure: Any) -> list[str]:
    """What is wrong with a structure, each fault with its place; an empty list if nothing is."""
    if not isinstance(structure, Mapping):
        return [f"structure: must be an object with {', '.join(PARTS)}."]
    faults = [f"{name}: is no part of a structure; there are {', '.join(PARTS)}." for name in structure.keys() - PARTS]
    for part in PARTS:
        entries = structure.get(part, [])
        if not isinstance(entries, list) or len(entries) > MAX_ENTRIES:
            faults.append(f'{part}: must be a list of at most {MAX_ENTRIES} like {{"key": "a", "title": "A"}}.')
            continue
        seen: set[str] = set()
        for place, entry in enumerate(entries):
            faults += [f"{part}[{place}]{fault}" for fault in _entry_faults(entry, seen)]
    return faults


def keys(structure: Mapping[str, Any], part: str) -> list[str]:
    return [entry["key"] for entry in structure.get(part, [])]


def place_faults(
    structure: Mapping[str, Any], *, arm: str = "", site: str = "", dyad: str = "", role: str = ""
) -> list[str]:
    """Why somebody cannot be put there. Where a study names no sites, any name is a site."""
    faults = []
    for part, name, value in (("arms", "arm", arm), ("sites", "site", site), ("roles", "role", role)):
        known = keys(structure, part)
        if value and value not in known and (known or part != "sites"):
            offered = f"it has {', '.join(known)}" if known else "it has none; name them in its structure first"
            faults.append(f"{name}: the study has no {name} {value[:60]!r}; {offered}.")
    if bool(dyad) != bool(role):
        faults.append("dyad, role: somebody in a dyad has a role in it; give both or neither.")
    faults += [
        f"{name}: must be at most {MAX_KEY} printable characters."
        for name, value in (("site", site), ("dyad", dyad))
        if len(value) > MAX_KEY or not value.isprintable()
    ]
    return faults


def _entry_faults(entry: Any, seen: set[str]) -> list[str]:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("key"), str):
        return [': must be like {"key": "a", "title": "A"}.']
    key, title = entry["key"], entry.get("title", "")
    at = f" ({key[:40]})"
    faults = [f"{at}.{name[:40]}: is unknown; there are key and title." for name in entry.keys() - {"key", "title"}]
    if not KEY.fullmatch(key) or len(key) > MAX_KEY:
        faults.append(f"{at}.key: must be letters, digits, '.', '-', '_' and single spaces, at most {MAX_KEY}.")
    if not isinstance(title, str) or len(title) > MAX_TITLE or not title.isprintable():
        faults.append(f"{at}.title: must be a line of at most {MAX_TITLE} characters.")
    if key in seen:
        faults.append(f"{at}.key: is there twice.")
    seen.add(key)
    return faults
