"""A stored report without one person: what it says of them alone goes, what it says of everybody stays as issued."""

from __future__ import annotations

import html
import re
from typing import Any

BY_PERSON = ("compliance", "slopes")  # pictures whose rows are people without a mark that names them

_MARK = re.compile(r'<(\w+) data-person="[^"]*"[^>]*><title>(.*?)</title></\1>', re.DOTALL)


def without_person(
    results: dict[str, Any], figures: dict[str, str], pseudonym: str
) -> tuple[dict[str, Any], dict[str, str]] | None:
    """Results and figures without this person's rows and marks; None where the report does not know them."""
    models = [_without(model, pseudonym) for model in results.get("models", [])]
    compliance = _without(results.get("compliance", {}), pseudonym)
    kept = {name: _MARK.sub(lambda mark: _unless_of(pseudonym, mark), svg) for name, svg in figures.items()}
    known = compliance != results.get("compliance", {}) or models != results.get("models", []) or kept != figures
    if not known:
        return None
    kept = {name: svg for name, svg in kept.items() if name.split(":")[-1].split("-")[0] not in BY_PERSON}
    erased = results.get("persons_erased", 0) + 1
    return {**results, "models": models, "compliance": compliance, "persons_erased": erased}, kept


def _unless_of(pseudonym: str, mark: re.Match[str]) -> str:
    """A mark's title is its person, or its person, a colon and what it shows: so it says whose it is, whatever characters
    a pseudonym has."""
    title = html.unescape(mark[2])
    return "" if title == pseudonym or title.startswith(f"{pseudonym}:") else mark[0]


def _without(part: dict[str, Any], pseudonym: str) -> dict[str, Any]:
    rows = part.get("persons")
    if not isinstance(rows, list):
        return part
    return {**part, "persons": [row for row in rows if row.get("person") != pseudonym]}
