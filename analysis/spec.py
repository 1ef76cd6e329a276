"""Formulas: ``"mood ~ stress + (1 + stress | person)"`` → `ModelSpec`.

lme4's syntax for the random part (Bates et al., 2015, Table 2); the fixed part is left as text for formulaic.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from analysis.errors import SpecError, unknown_column

Split = Literal["within", "between"]

SPLITS: tuple[Split, ...] = ("within", "between")
NOT_YET = {
    "within_day": "within_day(x) is not available yet; within(x) and between(x) are.",
    "between_days": "between_days(x) is not available yet; within(x) and between(x) are.",
    "lag": "lag(x) is not available yet; make the lagged column in the frame, inside each person and day.",
}
TOKEN = re.compile(
    r"""(?P<quoted>`[^`]*`)|(?P<text>'[^']*'|"[^"]*")|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<name>[^\W\d][\w.]*)|(?P<space>\s+)|(?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class RandomTerm:
    """One bracket of the random part: terms (text), its grouping factor's columns, and whether its terms correlate."""

    terms: str
    group: tuple[str, ...]
    correlated: bool

    @property
    def factor(self) -> str:
        """The grouping factor's name, as in `fit.random`: `a` or `a:b`."""
        return ":".join(self.group)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A parsed formula: the outcome and the fixed part as text, and the brackets of the random part."""

    formula: str
    outcome: str
    fixed: str
    random: tuple[RandomTerm, ...]

    @property
    def factors(self) -> tuple[str, ...]:
        """The grouping factors, each once, in the formula's order."""
        return tuple(dict.fromkeys(term.factor for term in self.random))


@dataclass(frozen=True, slots=True)
class SplitColumn:
    """`within(x)` or `between(x)` in a formula."""

    kind: Split
    column: str

    @property
    def name(self) -> str:
        return f"{self.kind}({self.column})"


@dataclass(frozen=True, slots=True)
class Prepared:
    """Formula text that formulaic can read, the frame's columns it uses, and the splits it asks for."""

    text: str
    columns: tuple[str, ...]
    splits: tuple[SplitColumn, ...]


def parse_formula(formula: str) -> ModelSpec:
    """Read `outcome ~ fixed + (terms | group) + …`. Raises SpecError where the formula cannot be meant."""
    if not isinstance(formula, str) or formula.count("~") != 1:
        raise SpecError(f"the formula {formula!r} needs the form 'outcome ~ predictors + (1 | group)'.")
    outcome, right = (side.strip() for side in formula.split("~"))
    if not outcome:
        raise SpecError(f"the formula {formula!r} names no outcome before '~'.")
    fixed, brackets = _split_brackets(right, formula)
    random = tuple(term for bracket in brackets for term in _parse_bracket(bracket, formula))
    if not random:
        raise SpecError(f"the formula {formula!r} has no random term; add one such as (1 | person).")
    return ModelSpec(formula, outcome, _tidy_sum(fixed, formula), random)


def prepare(text: str, columns: Collection[str], where: str) -> Prepared:
    """Quote dotted names, turn within(x) and between(x) into names of columns, and list what is used.

    Raises SpecError for a name that is no column (outside a function's arguments, where formulaic decides).
    """
    tokens = [match for match in TOKEN.finditer(text) if match.lastgroup != "space"]
    out: list[str] = []
    used: dict[str, None] = {}
    splits: dict[SplitColumn, None] = {}
    calls: list[bool] = []  # for each open bracket: is it a function's?
    position = 0
    while position < len(tokens):
        token, kind = tokens[position].group(), tokens[position].lastgroup
        following = tokens[position + 1].group() if position + 1 < len(tokens) else ""
        if kind == "name" and following == "(" and token in NOT_YET:
            raise SpecError(f"{where}: {NOT_YET[token]}")
        if kind == "name" and following == "(" and token in SPLITS:
            split = _read_split(token, tokens[position + 2 : position + 4], columns, where)
            splits[split] = None
            used[split.column] = None
            out.append(f"`{split.name}`")
            position += 4
            continue
        if token == "(":
            calls.append(position > 0 and tokens[position - 1].lastgroup == "name")
        elif token == ")" and calls:
            calls.pop()
        if kind in ("name", "quoted"):
            name = token.strip("`")
            if name in columns and following != "(" and not (following == "=" and any(calls)):
                used[name] = None
                token = f"`{name}`" if kind == "quoted" or not name.isidentifier() else name
            elif following != "(" and not any(calls):
                raise unknown_column(name, columns, where)
        out.append(token)
        position += 1
    return Prepared("".join(out), tuple(used), tuple(splits))


def _read_split(kind: str, rest: list[re.Match[str]], columns: Collection[str], where: str) -> SplitColumn:
    """The column inside `within(` or `between(`; `rest` holds the two tokens after the bracket."""
    if len(rest) < 2 or rest[1].group() != ")" or rest[0].lastgroup not in ("name", "quoted"):
        raise SpecError(f"{where}: {kind}(…) takes the name of one column, as in {kind}(support).")
    name = rest[0].group().strip("`")
    if name not in columns:
        raise unknown_column(name, columns, where)
    return SplitColumn("within" if kind == "within" else "between", name)


def _split_brackets(right: str, formula: str) -> tuple[str, list[str]]:
    """The right-hand side without its `( … | … )` brackets, and the brackets' contents."""
    kept: list[str] = []
    brackets: list[str] = []
    for start, end in _outer_brackets(right, formula):
        inside = right[start + 1 : end]
        if "|" in inside:
            brackets.append(inside)
    rest = right
    for inside in brackets:
        rest = rest.replace(f"({inside})", "\0", 1)
    if "|" in rest:
        raise SpecError(f"the formula {formula!r} has a '|' outside brackets; write random terms as (1 | group).")
    for piece in re.split(r"(?=[+-])", rest):
        if "\0" not in piece:
            kept.append(piece)
        elif piece.replace("\0", "").strip() not in ("", "+"):
            raise SpecError(f"the formula {formula!r}: join random terms with '+' only.")
    return "".join(kept), brackets


def _outer_brackets(text: str, formula: str) -> Iterator[tuple[int, int]]:
    depth, start = 0, 0
    for at, character in enumerate(text):
        if character == "(":
            start = at if depth == 0 else start
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                yield start, at
        if depth < 0:
            break
    if depth != 0:
        raise SpecError(f"the formula {formula!r} has unbalanced brackets.")


def _tidy_sum(fixed: str, formula: str) -> str:
    """The fixed part without dangling plus signs; `1` where only random terms were written."""
    tidy = re.sub(r"^\s*\+", "", re.sub(r"\+\s*$", "", fixed)).strip()
    if re.search(r"\+\s*\+|[*:/-]\s*$", tidy):
        raise SpecError(f"the formula {formula!r} has an operator without a term beside it.")
    return tidy or "1"


def _parse_bracket(bracket: str, formula: str) -> Iterator[RandomTerm]:
    parts = re.split(r"\|\|?", bracket)
    if len(parts) != 2 or not parts[0].strip() or not parts[1].strip():
        raise SpecError(f"the formula {formula!r}: ({bracket}) should read (terms | group).")
    terms, group = parts[0].strip(), parts[1].strip()
    names = [name.strip().strip("`") for name in re.split(r"[:/]", group)]
    if any(not re.fullmatch(r"[^\W\d][\w. ]*", name) for name in names):
        raise SpecError(f"the formula {formula!r}: the group {group!r} should be a column, or columns joined by ':'.")
    if "/" not in group:
        yield RandomTerm(terms, tuple(names), correlated="||" not in bracket)
        return
    if ":" in group:
        raise SpecError(f"the formula {formula!r}: the group {group!r} mixes ':' and '/'.")
    for depth in range(len(names)):
        yield RandomTerm(terms, tuple(names[: depth + 1]), correlated="||" not in bracket)
