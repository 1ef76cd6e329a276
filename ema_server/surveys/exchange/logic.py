"""What XLSForm (XPath) and REDCap write as conditions and calculations, read into one small tree.

Both are read by tokens and recursive descent: the same grammar, two spellings of a reference (`${stress}`, `[stress]`),
of inequality and of the operators.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

MAX_LENGTH = 4_000
MAX_DEPTH = 40

Dialect = Literal["xlsform", "redcap"]


class LogicFault(Exception):
    """Why an expression cannot be carried over, in words."""


@dataclass(frozen=True, slots=True)
class Quoted:
    text: str


@dataclass(frozen=True, slots=True)
class Number:
    value: int | float


@dataclass(frozen=True, slots=True)
class Asked:
    """A question's answer; with a code, whether that choice of a REDCap checkbox is ticked."""

    name: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Itself:
    """The answer that a constraint is about: `.` in XPath."""


@dataclass(frozen=True, slots=True)
class Call:
    """An operator (`or and = != < <= > >= + - * / mod ^ negative`) or a function with its operands."""

    name: str
    operands: tuple[Tree, ...]


Tree = Quoted | Number | Asked | Itself | Call

_COMMON = r"""
    (?P<number>\d+(?:\.\d*)?|\.\d+)
  | (?P<text>"[^"]*"|'[^']*')
"""
_TOKENS: dict[Dialect, re.Pattern[str]] = {
    "xlsform": re.compile(
        rf"""(?P<space>\s+)
          | (?P<asked>\$\{{[^}}]*\}}|\.\./[^\W\d][\w.-]*)
          | {_COMMON}
          | (?P<itself>\.(?![.\d]))
          | (?P<word>[^\W\d][\w.-]*(?::[^\W\d][\w.-]*)?)
          | (?P<sign><=|>=|!=|[-=<>+*(),])""",
        re.VERBOSE,
    ),
    "redcap": re.compile(
        rf"""(?P<space>\s+|(?://|\#)[^\n]*)
          | (?P<asked>\[[^\[\]]*\])
          | {_COMMON}
          | (?P<word>[^\W\d]\w*)
          | (?P<sign><=|>=|<>|!=|==|&&|\|\||[-=<>+*/^(),])""",
        re.VERBOSE,
    ),
}
_SPELLINGS = {"<>": "!=", "==": "=", "&&": "and", "||": "or", "div": "/"}
_COMPARISONS = {"=", "!=", "<", "<=", ">", ">="}
_FIELD = re.compile(r"([A-Za-z_]\w*)(?:\((-?\w+)\))?(?::value)?")


def parse(text: str, dialect: Dialect) -> Tree:
    """The tree of an expression. Raises `LogicFault`."""
    if len(text) > MAX_LENGTH:
        raise LogicFault(f"it has {len(text):,} characters, more than {MAX_LENGTH:,}")
    return _Parser(list(_tokens(text, dialect))).whole()


def asked(tree: Tree) -> Iterator[Asked]:
    """The questions that a tree asks about, in order."""
    if isinstance(tree, Asked):
        yield tree
    elif isinstance(tree, Call):
        for operand in tree.operands:
            yield from asked(operand)


def _tokens(text: str, dialect: Dialect) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(text):
        found = _TOKENS[dialect].match(text, place)
        if found is None or found.lastgroup is None:
            raise LogicFault(f"{text[place : place + 12]!r} (character {place + 1}) has no counterpart here")
        kind, token = found.lastgroup, found[0]
        place = found.end()
        if kind == "space":
            continue
        if kind == "word" and dialect == "redcap" and token.lower() in {"and", "or"}:
            token = token.lower()
        yield kind, _SPELLINGS.get(token, token) if kind in {"sign", "word"} else token


class _Parser:
    """Recursive descent, one method for each level of binding."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.place = 0
        self.depth = 0

    def whole(self) -> Tree:
        tree = self._either()
        if self.place < len(self.tokens):
            raise LogicFault(f"{self.tokens[self.place][1]!r} was not expected")
        return tree

    def _either(self) -> Tree:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise LogicFault(f"it is more than {MAX_DEPTH} levels deep")
        tree = self._joined({"or"}, lambda: self._joined({"and"}, self._comparison))
        self.depth -= 1
        return tree

    def _joined(self, names: set[str], part: Callable[[], Tree]) -> Tree:
        tree = part()
        while (name := self._operator(names)) is not None:
            tree = Call(name, (tree, part()))
        return tree

    def _comparison(self) -> Tree:
        left = self._sum()
        name = self._operator(_COMPARISONS)
        if name is None:
            return left
        right = self._sum()
        if self._operator(_COMPARISONS) is not None:
            raise LogicFault("it compares three things at once")
        return Call(name, (left, right))

    def _sum(self) -> Tree:
        return self._joined({"+", "-"}, lambda: self._joined({"*", "/", "mod", "^"}, self._signed))

    def _signed(self) -> Tree:
        signs = 0
        while self._operator({"-"}) is not None:
            signs += 1
        tree = self._atom()
        if signs % 2 == 0:
            return tree
        return Number(-tree.value) if isinstance(tree, Number) else Call("negative", (tree,))

    def _atom(self) -> Tree:
        if self.place >= len(self.tokens):
            raise LogicFault("something is missing at its end")
        kind, token = self.tokens[self.place]
        self.place += 1
        if kind == "number":
            value = float(token)
            return Number(int(value) if value.is_integer() else value)
        if kind == "text":
            return Quoted(token[1:-1].strip())
        if kind == "asked":
            return self._asked(token)
        if kind == "itself":
            return Itself()
        if token == "(":
            tree = self._either()
            self._expect(")")
            return tree
        if kind == "word" and self._operator({"("}) is not None:
            return self._function(token)
        raise LogicFault(f"{token!r} has no counterpart here")

    def _asked(self, token: str) -> Tree:
        if token.startswith("["):
            field = _FIELD.fullmatch(token[1:-1].strip())
            if field is None or self._next_is("asked"):
                raise LogicFault(f"{token} is a smart variable, or asks about another event or instance")
            return Asked(field[1], field[2])
        name = token[3:] if token.startswith("../") else token[2:-1].strip()
        if "#" in name:
            raise LogicFault(f"{token} asks about an earlier questionnaire")
        return Asked(name)

    def _function(self, name: str) -> Tree:
        operands: list[Tree] = []
        if self._operator({")"}) is None:
            operands.append(self._either())
            while self._operator({","}) is not None:
                operands.append(self._either())
            self._expect(")")
        return Call(name, tuple(operands))

    def _next_is(self, kind: str) -> bool:
        return self.place < len(self.tokens) and self.tokens[self.place][0] == kind

    def _operator(self, names: set[str]) -> str | None:
        if self.place < len(self.tokens) and self.tokens[self.place][0] in {"sign", "word"}:
            token = self.tokens[self.place][1]
            if token in names:
                self.place += 1
                return token
        return None

    def _expect(self, sign: str) -> None:
        if self._operator({sign}) is None:
            raise LogicFault(f"a {sign!r} is missing")
