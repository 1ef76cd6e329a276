"""Whether a condition can ever be true: a condition that cannot hides its item from everybody."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise, product
from typing import Any

from ema_server.surveys import expressions
from ema_server.surveys.expressions import Call, Constant, Fact, Name, Node, Value

MOST_CASES = 20_000
MOST_PARTS = 3_000_000  # of expressions, asked for all conditions of a document: about two seconds
_COMPARISONS = {"==", "!=", "<", "<=", ">", ">="}


@dataclass(frozen=True, slots=True)
class Domain:
    """What an item or a fact may be. `whole`: whole numbers alone; `values`: the options of a choice."""

    kind: str  # number | text | flag | list
    low: float | None = None
    high: float | None = None
    whole: bool = False
    values: tuple[Any, ...] = ()
    open_ended: bool = False  # any text
    at_most: int | None = None


@dataclass(slots=True)
class Effort:
    """What may still be spent on one document's proofs; a condition for which it does not suffice is believed."""

    left: int = MOST_PARTS


FACT_DOMAINS = {
    "day": Domain("number", 1, None, whole=True),
    "prompt": Domain("number", 1, None, whole=True),
    "weekday": Domain("number", 1, 7, whole=True),
    "hour": Domain("number", 0, 24),
    "practice": Domain("flag"),
    **{name: Domain("text", open_ended=True) for name in ("wave", "arm", "site", "role", "option")},
}


def can_hold(node: Node, domains: Mapping[str, Domain], effort: Effort | None = None) -> bool:
    """False where no possible answers make the condition true; True where some do, or where that cannot be told.

    In an expression whose comparisons each ask one item about constants, truth changes at those constants alone, so it
    is enough to try each constant, its two neighbours and the ends of the range: a proof by cases. Anything else
    (arithmetic, two items compared) is believed.
    """
    if not _decidable(node):
        return True
    effort = effort or Effort()
    asked = sorted({("", name) for name in expressions.names(node)} | {("@", name) for name in expressions.facts(node)})
    cases = []
    for sign, name in asked:
        domain = FACT_DOMAINS[name] if sign else domains[name]
        candidates = _candidates(domain, set(_constants(node, (sign, name))))
        if candidates is None:
            return True
        cases.append([*candidates, None])
    number, parts = math.prod(len(each) for each in cases), _parts(node)
    if number > MOST_CASES or number * parts > effort.left:
        return True
    for case in product(*cases):
        effort.left -= parts
        answers = {name: value for (sign, name), value in zip(asked, case, strict=True) if not sign}
        facts = {name: value for (sign, name), value in zip(asked, case, strict=True) if sign}
        if expressions.holds(node, answers, facts):
            return True
    return False


def _decidable(node: Node) -> bool:
    """Whether every part is a connective, a bare item or one item beside constants."""
    if not isinstance(node, Call):
        return True
    if node.name in {"and", "or", "not", "is"}:
        return all(_decidable(each) for each in node.operands)
    if node.name in _COMPARISONS or node.name in {"in", "answered", "selected"}:
        return (
            all(not isinstance(each, Call) for each in node.operands)
            and sum(isinstance(each, Name | Fact) for each in node.operands) <= 1
        )
    return False


def _parts(node: Node) -> int:
    return 1 + sum(_parts(each) for each in node.operands) if isinstance(node, Call) else 1


def _constants(node: Node, asked: tuple[str, str]) -> Iterator[Value]:
    """The constants that an item or fact stands beside."""
    if not isinstance(node, Call):
        return
    here = any(
        (isinstance(each, Name) and asked == ("", each.name)) or (isinstance(each, Fact) and asked == ("@", each.name))
        for each in node.operands
    )
    for each in node.operands:
        if isinstance(each, Call):
            yield from _constants(each, asked)
        elif here and isinstance(each, Constant):
            yield from each.value if isinstance(each.value, tuple) else (each.value,)


def _candidates(domain: Domain, constants: set[Value]) -> list[Value] | None:
    """The values that decide; None where they are too many to try."""
    if domain.kind == "flag":
        return [True, False]
    if domain.kind == "list":
        named = [value for value in domain.values if value in constants]
        most = min(domain.at_most or len(named), len(named))
        if sum(math.comb(len(named), size) for size in range(most + 1)) > MOST_CASES:
            return None
        return [subset for size in range(most + 1) for subset in combinations(named, size)]
    if domain.values:
        return list(domain.values)
    if domain.kind == "text":
        texts = sorted(each for each in constants if isinstance(each, str))
        between = [text + "\x01" for text in texts] + [""]
        return [*texts, *between]
    return _numbers(
        domain,
        sorted(float(each) for each in constants if isinstance(each, int | float) and not isinstance(each, bool)),
    )


def _numbers(domain: Domain, marks: list[float]) -> list[Value]:
    """The ends, the constants, and a number between each two neighbours of them."""
    low = domain.low if domain.low is not None else min([0.0, *marks]) - 1
    high = domain.high if domain.high is not None else max([0.0, *marks]) + 1
    if domain.whole:
        near = {
            low,
            high,
            *(n + shift for mark in marks for n in (math.floor(mark), math.ceil(mark)) for shift in (-1, 0, 1)),
        }
        return [number for number in sorted(near) if low <= number <= high]
    points = sorted({low, high, *(mark for mark in marks if low <= mark <= high)})
    return [*points, *((left + right) / 2 for left, right in pairwise(points))]
