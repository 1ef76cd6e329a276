"""Calculations that are scores: the mean or the sum of items, some of them turned round."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ema_server.surveys.exchange.logic import Asked, Call, Number, Tree


@dataclass(frozen=True, slots=True)
class Score:
    """`turned` holds each item that counts as a constant minus the answer. `over_answered`: missing ones are left out."""

    kind: Literal["mean", "sum"]
    items: tuple[str, ...]
    turned: dict[str, float]
    over_answered: bool
    rounded: bool


def score_of(tree: Tree) -> Score | None:
    """The score that a calculation is; None where it is something else."""
    rounded = False
    while isinstance(tree, Call) and tree.name in {"round", "number", "int"} and tree.operands:
        rounded = rounded or tree.name != "number"
        tree = tree.operands[0]
    if not isinstance(tree, Call):
        return None
    kind: Literal["mean", "sum"] = "sum"
    over_answered = False
    divisor: float | None = None
    if tree.name == "/" and isinstance(tree.operands[1], Number):
        divisor, tree = tree.operands[1].value, tree.operands[0]
        if not isinstance(tree, Call):
            return None
    if tree.name in {"mean", "sum"}:
        kind, terms, over_answered = tree.name, list(tree.operands), True  # type: ignore[assignment]
    else:
        terms = list(_added(tree))
    if divisor is not None:
        if kind == "mean" or divisor != len(terms):
            return None
        kind = "mean"
    items: list[str] = []
    turned: dict[str, float] = {}
    for term in terms:
        if isinstance(term, Call) and term.name == "-" and isinstance(term.operands[0], Number):
            turned_item = term.operands[1]
            if isinstance(turned_item, Asked):
                turned[turned_item.name] = term.operands[0].value
            term = turned_item
        if not isinstance(term, Asked) or term.code is not None or term.name in items:
            return None
        items.append(term.name)
    if len(items) < 2 or (divisor is not None and over_answered):
        return None
    return Score(kind, tuple(items), turned, over_answered, rounded)


def _added(tree: Tree) -> Iterator[Tree]:
    if isinstance(tree, Call) and tree.name == "+":
        for operand in tree.operands:
            yield from _added(operand)
    else:
        yield tree
