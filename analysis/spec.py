"""Formulas: ``"mood ~ stress + (1 + stress | person)"`` → `ModelSpec`.

lme4's syntax for the random part (Bates et al., 2015, Table 2); the fixed part is left as text for formulaic.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from analysis.errors import SpecError, unknown_column, unknown_function
from analysis.formula_functions import FUNCTIONS

Split = Literal["within", "between"]
Made = Literal["within_day", "between_days", "lag", "lag_within"]

WORDS = ("within", "between", "within_day", "between_days", "lag")
LONGEST, PRODUCTS = 20_000, 12
"""Limits of a formula; twelve factors joined by '*' are 4,096 terms."""
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
class TimedColumn:
    """`within_day(x)`, `between_days(x)`, `lag(x)`, or the lag within the person; `name` is as written, less spaces.

    Both lag(within(x)) and within(lag(x)) are "lag_within": the lagged x less the person's mean of the *unlagged* x.
    """

    name: str
    kind: Made
    column: str

    @property
    def is_lag(self) -> bool:
        return self.kind in ("lag", "lag_within")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Formula text that formulaic can read, and what it asks for.

    columns : columns that must be present in a row for it to be used: the frame's, and lags by their own names
    splits, timed : the columns to be made from a person's rows, and from their days and prompts
    """

    text: str
    columns: tuple[str, ...]
    splits: tuple[SplitColumn, ...]
    timed: tuple[TimedColumn, ...] = ()


def parse_formula(formula: str) -> ModelSpec:
    """Read `outcome ~ fixed + (terms | group) + …`. Raises SpecError where the formula cannot be meant."""
    if not isinstance(formula, str) or formula.count("~") != 1:
        raise SpecError(f"the formula {formula!r} needs the form 'outcome ~ predictors + (1 | group)'.")
    if len(formula) > LONGEST or formula.replace("**", "").count("*") > PRODUCTS:
        raise SpecError(
            f"a formula may have {LONGEST:,} characters and {PRODUCTS} products '*' at most (each doubles its terms), not "
            f"{len(formula):,} and {formula.replace('**', '').count('*')}; write products as a:b."
        )
    outcome, right = (side.strip() for side in formula.split("~"))
    if not outcome:
        raise SpecError(f"the formula {formula!r} names no outcome before '~'.")
    fixed, brackets = _split_brackets(right, formula)
    random = tuple(term for bracket in brackets for term in _parse_bracket(bracket, formula))
    if not random:
        raise SpecError(f"the formula {formula!r} has no random term; add one such as (1 | person).")
    return ModelSpec(formula, outcome, _tidy_sum(fixed, formula), random)


def prepare(text: str, columns: Collection[str], where: str) -> Prepared:
    """Quote dotted names, turn within(x), lag(x) and the like into names of columns, and list what is used.

    Raises SpecError for a name that is no column (outside a function's arguments, where formulaic decides), and for
    a function that there is not.
    """
    tokens = [match for match in TOKEN.finditer(text) if match.lastgroup != "space"]
    out: list[str] = []
    used: dict[str, None] = {}
    splits: dict[SplitColumn, None] = {}
    timed: dict[TimedColumn, None] = {}
    calls: list[bool] = []  # for each open bracket: is it a function's?
    position = 0
    while position < len(tokens):
        token, kind = tokens[position].group(), tokens[position].lastgroup
        following = tokens[position + 1].group() if position + 1 < len(tokens) else ""
        if kind == "name" and following == "(" and token in WORDS:
            made, length = _read_words(tokens[position:], columns, where)
            if isinstance(made, SplitColumn):
                splits[made] = None
            else:
                timed[made] = None
            used[made.name if isinstance(made, TimedColumn) and made.is_lag else made.column] = None
            out.append(f"`{made.name}`")
            position += length
            continue
        if kind == "name" and following == "(":
            head, _, method = token.partition(".")  # np.log(x), or a column's own method as in I(x.abs())
            if method and head in columns:
                used[head] = None
            elif head not in (*FUNCTIONS, "np", "contr"):
                raise unknown_function(token, [*WORDS, *FUNCTIONS], where)
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
    return Prepared("".join(out), tuple(used), tuple(splits), tuple(timed))


def rename_words(text: str, names: Mapping[str, str]) -> str:
    """The formula with each call such as `lag(within(x))` replaced by its name in `names`; all else as it stands."""
    tokens = list(TOKEN.finditer(text))
    out: list[str] = []
    position = 0
    while position < len(tokens):
        call = _call_text(tokens[position:])
        if call is None or call[0] not in names:
            out.append(tokens[position].group())
            position += 1
        else:
            out.append(names[call[0]])
            position += call[1]
    return "".join(out)


def plain_names(text: str) -> list[str]:
    """The names in a formula's text that are not called as functions."""
    tokens = [match for match in TOKEN.finditer(text) if match.lastgroup != "space"]
    following = [*(token.group() for token in tokens[1:]), ""]
    pairs = zip(tokens, following, strict=True)
    return [t.group().strip("`") for t, after in pairs if t.lastgroup in ("name", "quoted") and after != "("]


def _call_text(tokens: list[re.Match[str]]) -> tuple[str, int] | None:
    """A call of one of `WORDS` at the start of the tokens, without spaces and backquotes, and its length in tokens."""
    if tokens[0].group() not in WORDS or len(tokens) < 2:
        return None
    depth = 0
    for length, token in enumerate(tokens, start=1):
        depth += {"(": 1, ")": -1}.get(token.group(), 0)
        if depth == 0 and token.group() == ")":
            return "".join(t.group().strip("`") for t in tokens[:length] if t.lastgroup != "space"), length
    return None


def _read_words(
    tokens: list[re.Match[str]], columns: Collection[str], where: str
) -> tuple[SplitColumn | TimedColumn, int]:
    """What `within(x)`, `lag(within(x))` … at the start of the tokens asks for, and how many tokens it takes."""
    length = (_call_text(tokens) or ("", len(tokens)))[1]
    texts, depth = [token.group() for token in tokens[:length]], (length - 1) // 3
    words = tuple(texts[0 : 2 * depth : 2])
    brackets = (texts[1 : 2 * depth : 2], texts[2 * depth + 1 :])
    if (
        brackets != (["("] * depth, [")"] * depth)
        or not set(words) <= set(WORDS)
        or tokens[2 * depth].lastgroup not in ("name", "quoted")
    ):
        raise SpecError(f"{where}: {texts[0]}(…) takes the name of one column, as in {texts[0]}(support).")
    column = texts[2 * depth].strip("`")
    if column not in columns:
        raise unknown_column(column, columns, where)
    return _meaning(words, column, where), length


def _meaning(words: tuple[str, ...], column: str, where: str) -> SplitColumn | TimedColumn:
    """The column that the words, outermost first, make of `column`."""
    name = f"{'('.join(words)}({column}{')' * len(words)}"
    match words:
        case ("within",) | ("between",):
            return SplitColumn("within" if words[0] == "within" else "between", column)
        case ("within_day",):
            return TimedColumn(name, "within_day", column)
        case ("between_days",):
            return TimedColumn(name, "between_days", column)
        case ("lag",):
            return TimedColumn(name, "lag", column)
        case ("lag", "within") | ("within", "lag"):
            return TimedColumn(name, "lag_within", column)
    if set(words) in ({"lag", "between"}, {"lag", "between_days"}):
        whose, part = ("person", "between") if "between" in words else ("day", "between_days")
        raise SpecError(f"{where}: {name}: a {whose}'s own mean has no lag; use {part}({column}).")
    raise SpecError(
        f"{where}: {name} cannot be had; each of {', '.join(WORDS)} takes one column, and only lag and within go "
        f"together, as lag(within({column}))."
    )


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
    if terms.replace(" ", "") in ("0", "-1", "0+0"):
        raise SpecError(f"the formula {formula!r}: ({bracket}) has no random term; write (1 | {group}), say.")
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
