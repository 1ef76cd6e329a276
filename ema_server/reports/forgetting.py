"""A stored report without one person: what it says of them alone goes, what it says of everybody stays as issued."""

from __future__ import annotations

import html
import re
from typing import Any

BY_PERSON = ("compliance", "slopes")  # pictures whose rows are people without a mark that names them


def without_person(
    results: dict[str, Any], figures: dict[str, str], pseudonym: str
) -> tuple[dict[str, Any], dict[str, str]] | None:
    """Results and figures without this person's rows and marks; None where the report does not know them."""
    models = [_without(model, pseudonym) for model in results.get("models", [])]
    compliance = _without(results.get("compliance", {}), pseudonym)
    mark = re.compile(rf'<(\w+) data-person="{re.escape(html.escape(pseudonym))}"[^>]*>.*?</\1>', re.DOTALL)
    kept = {name: mark.sub("", svg) for name, svg in figures.items()}
    known = compliance != results.get("compliance", {}) or models != results.get("models", []) or kept != figures
    if not known:
        return None
    kept = {name: svg for name, svg in kept.items() if name.split(":")[-1].split("-")[0] not in BY_PERSON}
    erased = results.get("persons_erased", 0) + 1
    return {**results, "models": models, "compliance": compliance, "persons_erased": erased}, kept


def _without(part: dict[str, Any], pseudonym: str) -> dict[str, Any]:
    rows = part.get("persons")
    if not isinstance(rows, list):
        return part
    return {**part, "persons": [row for row in rows if row.get("person") != pseudonym]}
