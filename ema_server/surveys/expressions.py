"""Conditions of branching: a small language that always ends.

    stress > 60 and not alone or selected(symptoms, "headache") or @day in [1, 7]

`parse` makes a tree, `evaluate` asks it about answers, `kind_of` tells at design time what it gives. Without loops, names
that can be set or calls that can repeat, evaluating costs one step a part. The rules that a phone must follow alike are in
`docs/questionnaires.md`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

MAX_LENGTH = 1_000
MAX_PARTS = 200
MAX_DEPTH = 20
MAX_DIGITS = 15

FACTS = {
    "day": "number", "prompt": "number", "wave": "text", "weekday": "number", "hour": "number", "arm": "text",
    "site": "text", "role": "text", "practice": "flag", "option": "text",
}  # fmt: skip

Value = float | int | str | bool | tuple[Any, ...] | None  # None: unanswered


class ExpressionFault(Exception):
    """What is wrong with an expression, and at which character."""

    def __init__(self, message: str, position: int | None = None) -> None:
        at = "" if position is None else f" at character {position + 1}"
        super().__init__(f"{message}{at}")
        self.message = f"{message}{at}"


@dataclass(frozen=True, slots=True)
class Constant:
    value: Value


@dataclass(frozen=True, slots=True)
class Name:
    name: str


@dataclass(frozen=True, slots=True)
class Fact:
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """An operator or function with its operands."""

    name: str
    operands: tuple[Node, ...]


Node = Constant | Name | Fact | Call

_SPACES = " \t\r\n\f\v"
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>\d+(?:\.\d+)?)
      | (?P<text>"[^"]*"|'[^']*')
      | (?P<fact>@[A-Za-z_]\w*)
      | (?P<word>[A-Za-z_]\w*)
      | (?P<sign><=|>=|==|!=|<>|[-+*/()<>=,\[\]])
    )""",
    re.VERBOSE | re.ASCII,
)
_COMPARISONS = {"==": "==", "=": "==", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "in": "in"}
_RESERVED_WORDS = {"and", "or", "not", "in", "true", "false"}
# function → fewest and most operands
FUNCTIONS = {
    "answered": (1, 1), "selected": (2, 2), "count": (1, 1), "min": (1, 50), "max": (1, 50), "mean": (1, 50),
    "sum": (1, 50), "abs": (1, 1), "round": (1, 1),
}  # fmt: skip


@lru_cache(maxsize=2048)
def parse(text: str) -> Node:
    """The tree of an expression. Raises `ExpressionFault`."""
    if not text.strip():
        raise ExpressionFault("an expression is a text such as stress > 60")
    if len(text) > MAX_LENGTH:
        raise ExpressionFault(f"an expression has at most {MAX_LENGTH:,} characters; this one has {len(text):,}")
    return _Parser(text).whole()


class _Parser:
    """Recursive descent, one method for each level of binding; depth and size are bounded while reading."""

    def __init__(self, text: str) -> None:
        self.tokens = list(_tokens(text))
        self.place = 0
        self.parts = 0
        self.depth = 0
        self.end = len(text)

    def whole(self) -> Node:
        node = self._either()
        if self.place < len(self.tokens):
            _, token, position = self.tokens[self.place]
            raise ExpressionFault(f"{token!r} was not expected", position)
        return node

    def _either(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ExpressionFault(f"an expression is at most {MAX_DEPTH} levels deep", self._position())
        node = self._joined("or", lambda: self._joined("and", self._negated))
        self.depth -= 1
        return node

    def _joined(self, word: str, part: Callable[[], Node]) -> Node:
        parts = [part()]
        while self._take("word", word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else self._call(word, *parts)

    def _negated(self) -> Node:
        negations = 0
        while self._take("word", "not"):
            negations += 1
        node = self._comparison()
        return self._call("not", node) if negations % 2 else (self._call("is", node) if negations else node)

    def _comparison(self) -> Node:
        left = self._sum()
        sign = self._peek()
        if sign not in _COMPARISONS:
            return left
        self.place += 1
        right = self._sum()
        if self._peek() in _COMPARISONS:
            raise ExpressionFault("compare two things at a time: join comparisons by and", self._position())
        return self._call(_COMPARISONS[sign], left, right)

    def _sum(self) -> Node:
        node = self._product()
        while (sign := self._peek()) in {"+", "-"}:
            self.place += 1
            node = self._call(sign, node, self._product())
        return node

    def _product(self) -> Node:
        node = self._signed()
        while (sign := self._peek()) in {"*", "/"}:
            self.place += 1
            node = self._call(sign, node, self._signed())
        return node

    def _signed(self) -> Node:
        signs = 0
        while self._peek() == "-":
            self.place += 1
            signs += 1
        node = self._atom()
        if signs % 2 == 0:
            return node
        if isinstance(node, Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return Constant(-node.value)
        return self._call("negative", node)

    def _atom(self) -> Node:
        if self.place >= len(self.tokens):
            raise ExpressionFault("something is missing at the end", self.end)
        kind, token, position = self.tokens[self.place]
        self.place += 1
        self._count()
        if kind == "number":
            if len(token) > MAX_DIGITS:
                raise ExpressionFault(f"a number has at most {MAX_DIGITS} digits", position)
            return Constant(float(token) if "." in token else int(token))
        if kind == "text":
            return Constant(token[1:-1])
        if kind == "fact":
            if token[1:] not in FACTS:
                raise ExpressionFault(
                    f"there is no fact {token}; there are {', '.join('@' + f for f in FACTS)}", position
                )
            return Fact(token[1:])
        if token == "(":
            node = self._either()
            self._expect(")")
            return node
        if token == "[":
            return self._list()
        if kind == "word" and token in {"true", "false"}:
            return Constant(token == "true")
        if kind == "word" and self._take("sign", "("):
            return self._function(token, position)
        if kind == "word" and token not in _RESERVED_WORDS:
            return Name(token)
        raise ExpressionFault(f"{token!r} was not expected", position)

    def _function(self, name: str, position: int) -> Node:
        if name not in FUNCTIONS:
            raise ExpressionFault(f"there is no function {name}; there are {', '.join(FUNCTIONS)}", position)
        operands = [self._either()]
        while self._take("sign", ","):
            operands.append(self._either())
        self._expect(")")
        fewest, most = FUNCTIONS[name]
        if not fewest <= len(operands) <= most:
            takes = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise ExpressionFault(f"{name} takes {takes} values, here are {len(operands)}", position)
        return self._call(name, *operands)

    def _list(self) -> Node:
        values: list[Value] = []
        while True:
            position = self._position()
            node = self._signed()
            if not isinstance(node, Constant) or isinstance(node.value, tuple):
                raise ExpressionFault("a list holds numbers and texts alone", position)
            values.append(node.value)
            if not self._take("sign", ","):
                break
        self._expect("]")
        return Constant(tuple(values))

    def _call(self, name: str, *operands: Node) -> Node:
        self._count()
        return Call(name, operands)

    def _count(self) -> None:
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise ExpressionFault(f"an expression has at most {MAX_PARTS} parts", self._position())

    def _peek(self) -> str:
        """The next sign, or the word `in`."""
        kind, token, _ = self.tokens[self.place] if self.place < len(self.tokens) else ("", "", 0)
        return token if kind == "sign" or token == "in" else ""

    def _take(self, kind: str, token: str) -> bool:
        if self.place < len(self.tokens) and self.tokens[self.place][:2] == (kind, token):
            self.place += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._take("sign", sign):
            raise ExpressionFault(f"{sign!r} is missing", self._position())

    def _position(self) -> int:
        return self.tokens[self.place][2] if self.place < len(self.tokens) else self.end


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    place = 0
    while place < len(text):
        if not text[place:].strip(_SPACES):
            return
        token = _TOKEN.match(text, place)
        if token is None or token.lastgroup is None:
            while text[place] in _SPACES:
                place += 1
            why = (
                "this quotation mark has no partner" if text[place] in "\"'" else f"{text[place]!r} means nothing here"
            )
            raise ExpressionFault(why, place)
        yield token.lastgroup, token[token.lastgroup], token.start(token.lastgroup)
        place = token.end()


def names(node: Node) -> set[str]:
    """The items that an expression asks about."""
    if isinstance(node, Name):
        return {node.name}
    return {name for each in node.operands for name in names(each)} if isinstance(node, Call) else set()


def facts(node: Node) -> set[str]:
    """The facts that an expression asks about."""
    if isinstance(node, Fact):
        return {node.name}
    return {name for each in node.operands for name in facts(each)} if isinstance(node, Call) else set()


def evaluate(node: Node, answers: Mapping[str, Any], known: Mapping[str, Any]) -> Value:
    """What an expression gives for these answers (unanswered ones absent or None) and known facts. Never raises."""
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, Name):
        value = answers.get(node.name)
        return tuple(value) if isinstance(value, list) else value
    if isinstance(node, Fact):
        fact: Value = known.get(node.name)
        return fact
    if node.name == "and":
        return all(evaluate(each, answers, known) is True for each in node.operands)
    if node.name == "or":
        return any(evaluate(each, answers, known) is True for each in node.operands)
    return _OPERATIONS[node.name]([evaluate(each, answers, known) for each in node.operands])


def holds(node: Node | None, answers: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether a condition is true; no condition always is."""
    return node is None or evaluate(node, answers, known) is True


def _number(value: Value) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _same(left: Value, right: Value) -> bool:
    """Equal and of one kind: 1 is 1.0, but neither true nor "1"."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, str) != isinstance(right, str):
        return False
    return left == right


def _compare(accepts: Callable[[Any, Any], bool]) -> Callable[[list[Value]], bool]:
    def compared(values: list[Value]) -> bool:
        left, right = values
        if isinstance(left, str) and isinstance(right, str):
            return accepts(left, right)
        first, second = _number(left), _number(right)
        return first is not None and second is not None and accepts(first, second)

    return compared


def _arithmetic(combine: Callable[[float, float], float]) -> Callable[[list[Value]], Value]:
    def combined(values: list[Value]) -> Value:
        left, right = (_number(value) for value in values)
        if left is None or right is None:
            return None
        try:
            result = combine(left, right)
        except (ZeroDivisionError, OverflowError):
            return None
        return result if math.isfinite(result) else None

    return combined


def _over_answered(reduce: Callable[[list[float]], float]) -> Callable[[list[Value]], Value]:
    def reduced(values: list[Value]) -> Value:
        numbers = [number for value in values if (number := _number(value)) is not None]
        try:
            return reduce(numbers) if numbers else None
        except OverflowError:
            return None

    return reduced


def _of_number(change: Callable[[float], float]) -> Callable[[list[Value]], Value]:
    def changed(values: list[Value]) -> Value:
        number = _number(values[0])
        return None if number is None else change(number)

    return changed


_OPERATIONS: dict[str, Callable[[list[Value]], Value]] = {
    "not": lambda values: values[0] is not True,
    "is": lambda values: values[0] is True,
    "==": lambda values: None not in values and _same(values[0], values[1]),
    "!=": lambda values: None not in values and not _same(values[0], values[1]),
    "<": _compare(lambda left, right: left < right),
    "<=": _compare(lambda left, right: left <= right),
    ">": _compare(lambda left, right: left > right),
    ">=": _compare(lambda left, right: left >= right),
    "in": lambda values: (
        values[0] is not None and isinstance(values[1], tuple) and any(_same(values[0], each) for each in values[1])
    ),
    "+": _arithmetic(lambda left, right: left + right),
    "-": _arithmetic(lambda left, right: left - right),
    "*": _arithmetic(lambda left, right: left * right),
    "/": _arithmetic(lambda left, right: left / right),
    "negative": _of_number(lambda number: -number),
    "answered": lambda values: values[0] is not None,
    "selected": lambda values: isinstance(values[0], tuple) and any(_same(values[1], each) for each in values[0]),
    "count": lambda values: len(values[0]) if isinstance(values[0], tuple) else 0,
    "min": _over_answered(min),
    "max": _over_answered(max),
    "mean": _over_answered(lambda numbers: math.fsum(numbers) / len(numbers)),
    "sum": _over_answered(math.fsum),
    "abs": _of_number(abs),
    "round": _of_number(lambda number: math.floor(number + 0.5)),
}


def kind_of(node: Node, kinds: Mapping[str, str]) -> str:
    """What an expression gives: "number", "text", "flag" (true or false) or "list", when its items have these kinds.

    Raises `ExpressionFault` where two kinds meet that can never agree: the mistake of somebody who writes a condition.
    """
    if isinstance(node, Constant):
        return _kind_of_value(node.value)
    if isinstance(node, Name):
        return kinds[node.name]
    if isinstance(node, Fact):
        return FACTS[node.name]
    given = [kind_of(each, kinds) for each in node.operands]
    needs, gives = _KINDS[node.name]
    if needs == "same":
        if given[0] != given[1] or "list" in given:
            raise ExpressionFault(
                f"{_words(node.operands[0], given[0])} cannot be compared with {_words(node.operands[1], given[1])}"
            )
        if node.name not in {"==", "!="} and given[0] == "flag":
            raise ExpressionFault(f"{_words(node.operands[0], given[0])} is neither more nor less than anything")
    elif needs == "member":
        if given[1] != "list" or not isinstance(node.operands[1], Constant):
            raise ExpressionFault('in needs a list, like company in ["friends", "partner"]')
        _all_of_kind(node.operands[0], given[0], node.operands[1])
    elif needs == "selection":
        if given[0] != "list":
            raise ExpressionFault(
                f"selected needs an item with several choices; {_words(node.operands[0], given[0])} is none"
            )
    elif needs == "list":
        if given[0] != "list":
            raise ExpressionFault(
                f"count needs an item with several choices; {_words(node.operands[0], given[0])} is none"
            )
    elif needs != "any":
        for operand, kind in zip(node.operands, given, strict=True):
            if kind != needs:
                wanted = {"number": "a number", "flag": "a condition"}[needs]
                raise ExpressionFault(f"{node.name} needs {wanted}; {_words(operand, kind)} is none")
    return gives


_KINDS = {
    **dict.fromkeys(("and", "or", "not", "is"), ("flag", "flag")),
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), ("same", "flag")),
    **dict.fromkeys(("+", "-", "*", "/", "negative", "min", "max", "mean", "sum", "abs", "round"), ("number", "number")),
    "in": ("member", "flag"),
    "answered": ("any", "flag"),
    "selected": ("selection", "flag"),
    "count": ("list", "number"),
}  # fmt: skip


def _kind_of_value(value: Value) -> str:
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, tuple):
        return "list"
    return "text" if isinstance(value, str) else "number"


def _all_of_kind(asked: Node, kind: str, values: Constant) -> None:
    for value in values.value if isinstance(values.value, tuple) else ():
        if _kind_of_value(value) != kind:
            raise ExpressionFault(f"{_words(asked, kind)} is never {value!r}, which is a {_kind_of_value(value)}")


def _words(node: Node, kind: str) -> str:
    """An operand as the message names it."""
    called = {"number": "a number", "text": "a text", "flag": "true or false", "list": "a list"}[kind]
    if isinstance(node, Name):
        return f"{node.name} ({called})"
    if isinstance(node, Fact):
        return f"@{node.name} ({called})"
    if isinstance(node, Constant):
        return f"{node.value!r} ({called})" if not isinstance(node.value, tuple) else "a list"
    return called
