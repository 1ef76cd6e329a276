"""Conditions of others in our language (`docs/questionnaires.md`), with the same truth for the same answers.

Elsewhere an unanswered x is the empty text, here it is nothing, with which every comparison is false. So `x != 'a'` becomes
`not x == "a"`, `x = ''` becomes `not answered(x)`, and `x = y` is also true where both are unanswered. Codes that are texts
elsewhere (`'3'`) become what the answer is here: a number, true or false, or a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ema_server.surveys.exchange.logic import Asked, Call, LogicFault, Number, Quoted, Tree
from ema_server.surveys.expressions import MAX_PARTS
from ema_server.surveys.kinds import is_date, is_time

OR, AND, NOT, COMPARISON, SUM, PRODUCT, ATOM = range(7)  # how strongly a written part holds together
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!="}
_FUNCTIONS = {"min", "max", "sum", "mean", "abs"}
MAX_CALCULATIONS = 10  # one inside the other
MAX_WRITTEN_OUT = (
    MAX_PARTS  # calculations in one condition: two that ask twice about the one before double it each time
)


@dataclass(frozen=True, slots=True)
class Known:
    """An item that a condition may ask about. `values` are its answers by the codes that they have elsewhere."""

    name: str
    type: str
    kind: str  # number | text | flag | list; "" for what has no answer
    values: Mapping[str, Any] | None = None


@dataclass
class Answers:
    """What can be asked so far: items, calculations (written out where they are asked), and why others cannot."""

    known: dict[str, Known] = field(default_factory=dict)
    calculations: dict[str, Tree] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written:
    text: str
    holds: int
    kind: str

    def within(self, holds: int) -> str:
        return self.text if self.holds >= holds else f"({self.text})"


def condition(tree: Tree, answers: Answers) -> str:
    """The tree as a condition of ours. Raises `LogicFault`."""
    return _Writer(answers).flag(tree).text


class _Writer:
    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.depth = 0
        self.written_out = 0

    def flag(self, tree: Tree) -> Written:
        """A part that is true or false."""
        if isinstance(tree, Call):
            if tree.name in {"or", "and"}:
                holds = OR if tree.name == "or" else AND
                return Written(
                    f" {tree.name} ".join(self.flag(each).within(holds) for each in tree.operands), holds, "flag"
                )
            if tree.name in _MIRRORED:
                return self._comparison(tree.name, *tree.operands)
            if tree.name in {"not", "true", "false"}:
                return self._logical(tree)
            if tree.name == "selected" and len(tree.operands) == 2:
                return self._selected(*tree.operands)
            if tree.name in {"boolean", "boolean-from-string"} and len(tree.operands) == 1:
                return self.flag(tree.operands[0])
            if tree.name == "isblankormissingcode" and len(tree.operands) == 1:
                return self._blank("=", tree.operands[0])
            if tree.name == "isnumber" and len(tree.operands) == 1:
                return self._blank("!=", tree.operands[0])
        if isinstance(tree, Asked):
            if tree.code is not None:
                return self._ticked(tree, ticked=True)
            if tree.name in self.answers.calculations:
                return self._inside(tree.name, self.flag)
            known = self._known(tree)
            if known.kind == "flag":
                return Written(known.name, ATOM, "flag")
            raise LogicFault(f"{tree.name} alone is no condition; compare it with something")
        raise LogicFault(f"{_words(tree)} has no counterpart here as a condition")

    def value(self, tree: Tree) -> Written:
        """A part that is a number or a text."""
        if isinstance(tree, Number):
            return Written(_number(tree.value), ATOM if tree.value >= 0 else PRODUCT, "number")
        if isinstance(tree, Quoted):
            return Written(_quoted(tree.text), ATOM, "text")
        if isinstance(tree, Asked):
            if tree.code is not None:
                raise LogicFault(
                    f"[{tree.name}({tree.code})] is asked about as a number; here a choice is chosen or not"
                )
            if tree.name in self.answers.calculations:
                return self._inside(tree.name, self.value)
            known = self._known(tree)
            if known.kind not in {"number", "text"}:
                raise LogicFault(f"{tree.name} is neither a number nor a text")
            return Written(known.name, ATOM, known.kind)
        if isinstance(tree, Call):
            return self._computed(tree)
        raise LogicFault(f"{_words(tree)} has no counterpart here")

    def _computed(self, tree: Call) -> Written:
        operands = tree.operands
        if tree.name in {"+", "-", "*", "/"}:
            holds = SUM if tree.name in {"+", "-"} else PRODUCT
            left, right = self._amount(operands[0]), self._amount(operands[1])
            return Written(f"{left.within(holds)} {tree.name} {right.within(holds + 1)}", holds, "number")
        if tree.name == "negative":
            return Written(f"-{self._amount(operands[0]).within(ATOM)}", PRODUCT, "number")
        if tree.name in {"number", "string", "date"} and len(operands) == 1:
            return self._amount(operands[0]) if tree.name == "number" else self.value(operands[0])
        if tree.name == "round" and (len(operands) == 1 or operands[1:] == (Number(0),)):
            return Written(f"round({self._amount(operands[0]).text})", ATOM, "number")
        if tree.name in _FUNCTIONS and operands:
            given = ", ".join(self._amount(each).text for each in operands)
            return Written(f"{tree.name}({given})", ATOM, "number")
        if tree.name == "count-selected" and len(operands) == 1 and isinstance(operands[0], Asked):
            known = self._known(operands[0])
            if known.kind == "list":
                return Written(f"count({known.name})", ATOM, "number")
        raise LogicFault(f"{_words(tree)} has no counterpart here")

    def _amount(self, tree: Tree) -> Written:
        """A number; also one that was written as a text."""
        if isinstance(tree, Quoted) and (number := _as_number(tree.text)) is not None:
            return self.value(Number(number))
        written = self.value(tree)
        if written.kind != "number":
            raise LogicFault(f"{_words(tree)} is no number here")
        return written

    def _inside(self, name: str, write: Any) -> Written:
        """A calculation, written out where it is asked."""
        self.depth += 1
        self.written_out += 1
        if self.written_out > MAX_WRITTEN_OUT:
            raise LogicFault(f"with the calculation {name} written out it is too long for a condition")
        if self.depth > MAX_CALCULATIONS:
            raise LogicFault(f"the calculation {name} asks about itself, or through too many others")
        written: Written = write(self.answers.calculations[name])
        self.depth -= 1
        return written

    def _known(self, asked: Asked) -> Known:
        known = self.answers.known.get(asked.name)
        if known is None:
            raise LogicFault(self.answers.gone.get(asked.name, f"{asked.name} is no earlier question"))
        if known.kind == "":
            raise LogicFault(f"{asked.name} is for reading and has no answer")
        return known

    def _logical(self, tree: Call) -> Written:
        if tree.name == "not" and len(tree.operands) == 1:
            return _negated(self.flag(tree.operands[0]))
        if tree.name != "not" and not tree.operands:
            return Written(tree.name, ATOM, "flag")
        raise LogicFault(f"{_words(tree)} has no counterpart here")

    def _selected(self, asked: Tree, choice: Tree) -> Written:
        if not isinstance(asked, Asked) or asked.code is not None or not isinstance(choice, Quoted | Number):
            raise LogicFault("selected() asks for something else than one choice of one question")
        known = self._known(asked)
        value = self._value_of(known, choice)
        if known.kind == "list":
            return Written(f"selected({known.name}, {value})", ATOM, "flag")
        return self._equal(known, value)

    def _ticked(self, asked: Asked, *, ticked: bool) -> Written:
        known = self._known(asked)
        if known.kind != "list":
            raise LogicFault(f"{asked.name} has not several choices")
        written = Written(f"selected({known.name}, {self._value_of(known, Quoted(asked.code or ''))})", ATOM, "flag")
        return written if ticked else _negated(written)

    def _comparison(self, sign: str, left: Tree, right: Tree) -> Written:
        if isinstance(left, Quoted | Number):
            if isinstance(right, Quoted | Number):
                raise LogicFault("it compares two constants")
            sign, left, right = _MIRRORED[sign], right, left
        if isinstance(right, Call) and right.name in {"true", "false"} and not right.operands:
            right = Quoted(right.name)
        if isinstance(right, Call) and right.name in {"date", "string", "number"} and len(right.operands) == 1:
            right = right.operands[0]
        if right == Quoted("") and sign in {"=", "!="}:
            return self._blank(sign, left)
        if isinstance(left, Call) and left.name == "string-length" and len(left.operands) == 1:
            return self._blank(_length_sign(sign, right), left.operands[0])
        if isinstance(left, Call) and left.name in {"selected", "not"}:
            return self._truth(sign, self.flag(left), right)
        if (
            isinstance(left, Asked)
            and isinstance(right, Quoted | Number)
            and left.name not in self.answers.calculations
        ):
            if left.code is not None:
                if sign not in {"=", "!="} or _code(right) not in {"0", "1"}:
                    raise LogicFault(f"a choice is ticked ('1') or not ('0'); {_words(right)} is neither")
                return self._ticked(left, ticked=(_code(right) == "1") == (sign == "="))
            return self._with_constant(sign, self._known(left), right)
        if isinstance(right, Quoted) and (number := _as_number(right.text)) is not None:
            right = Number(number)
        first, second = self.value(left), self.value(right)
        if first.kind != second.kind:
            raise LogicFault(f"{_words(left)} and {_words(right)} are of two kinds here")
        compared = Written(f"{first.within(SUM)} {_ours(sign)} {second.within(SUM)}", COMPARISON, "flag")
        if sign in {"=", "!="} and isinstance(left, Asked) and isinstance(right, Asked):
            unanswered = [self._blank("=", each).text for each in (left, right) if self._can_be_blank(each)]
            if len(unanswered) == 2:
                compared = Written(" or ".join([compared.text, " and ".join(unanswered)]), OR, "flag")
        return _negated(compared) if sign == "!=" else compared

    def _with_constant(self, sign: str, known: Known, constant: Quoted | Number) -> Written:
        if sign in {"=", "!="}:
            value = self._value_of(known, constant)
            if known.kind == "list":
                equal = Written(f"selected({known.name}, {value}) and count({known.name}) == 1", AND, "flag")
            else:
                equal = self._equal(known, value)
            return equal if sign == "=" else _negated(equal)
        if known.kind == "number":
            number = constant.value if isinstance(constant, Number) else _as_number(constant.text)
            if number is None:
                raise LogicFault(f"{_words(constant)} is no number")
            return Written(f"{known.name} {sign} {_number(number)}", COMPARISON, "flag")
        if known.type in {"date", "time"}:
            return Written(f"{known.name} {sign} {self._value_of(known, constant)}", COMPARISON, "flag")
        raise LogicFault(f"the answers to {known.name} are no numbers, so that none is more than another")

    def _equal(self, known: Known, value: str) -> Written:
        if known.kind == "flag" and value == "true":
            return Written(known.name, ATOM, "flag")
        return Written(f"{known.name} == {value}", COMPARISON, "flag")

    def _value_of(self, known: Known, constant: Quoted | Number) -> str:
        """The constant as an answer to the item."""
        code = _code(constant)
        if known.values is not None:
            if code not in known.values:
                raise LogicFault(f"{code!r} is none of the answers to {known.name}")
            return _literal(known.values[code])
        if known.kind == "number":
            number = _as_number(code)
            if number is None:
                raise LogicFault(f"{code!r} is no number, but the answers to {known.name} are")
            return _number(number)
        if known.type == "date" and not is_date(code):
            raise LogicFault(f"{code!r} is no date like 2026-03-02")
        if known.type == "time":
            code = code[:5]
            if not is_time(code):
                raise LogicFault(f"{code!r} is no time like 23:15")
        if known.kind == "flag":
            raise LogicFault(f"{known.name} is answered by true or false alone")
        return _quoted(code)

    def _blank(self, sign: str, asked: Tree) -> Written:
        """`x = ''`, `x != ''`."""
        if not isinstance(asked, Asked):
            raise LogicFault(f"{_words(asked)} is compared with nothing")
        if asked.code is not None:  # a checkbox's choice is '0' or '1', never empty
            return self._ticked(asked, ticked=sign == "!=")
        if asked.name in self.answers.calculations:
            raise LogicFault(f"{asked.name} is calculated, and is compared with nothing")
        known = self._known(asked)
        if known.kind == "list":  # nothing chosen may be an empty list here
            return Written(f"count({known.name}) {'>' if sign == '!=' else '=='} 0", COMPARISON, "flag")
        answered = Written(f"answered({known.name})", ATOM, "flag")
        return answered if sign == "!=" else _negated(answered)

    def _can_be_blank(self, asked: Asked) -> bool:
        return asked.code is None and asked.name not in self.answers.calculations

    def _truth(self, sign: str, written: Written, right: Tree) -> Written:
        """`selected(…) = true()`."""
        if (
            sign not in {"=", "!="}
            or not isinstance(right, Quoted | Number)
            or _code(right) not in {"true", "false", "0", "1"}
        ):
            raise LogicFault("a condition is compared with something else than true or false")
        return written if (_code(right) in {"true", "1"}) == (sign == "=") else _negated(written)


def _negated(written: Written) -> Written:
    return Written(f"not {written.within(COMPARISON)}", NOT, "flag")


def _length_sign(sign: str, right: Tree) -> str:
    """`string-length(x) > 0` asks whether there is an answer."""
    if isinstance(right, Number):
        if (sign, right.value) in {(">", 0), ("!=", 0), (">=", 1)}:
            return "!="
        if (sign, right.value) in {("=", 0), ("<", 1), ("<=", 0)}:
            return "="
    raise LogicFault("the length of a text is asked about")


def _ours(sign: str) -> str:
    return "==" if sign in {"=", "!="} else sign


def _code(constant: Quoted | Number) -> str:
    return constant.text if isinstance(constant, Quoted) else _number(constant.value)


def _as_number(text: str) -> int | float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    if not abs(value) <= 1e15:
        return None
    return int(value) if value.is_integer() else value


def _number(value: int | float) -> str:
    if isinstance(value, int):
        return str(value)
    text = f"{value:.12f}".rstrip("0")
    if float(text) != value:
        raise LogicFault(f"{value} is too long a number")
    return text


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _number(value) if isinstance(value, int) else _quoted(str(value))


def _quoted(text: str) -> str:
    quote = '"' if '"' not in text else "'"
    if quote in text:
        raise LogicFault(f"{text!r} holds both quotation marks")
    return f"{quote}{text}{quote}"


def _words(tree: Tree) -> str:
    """A part as a message names it."""
    if isinstance(tree, Call):
        return f"{tree.name}()" if tree.name[0].isalpha() else f"the {tree.name}"
    if isinstance(tree, Asked):
        return tree.name
    if isinstance(tree, Quoted | Number):
        return repr(tree.text) if isinstance(tree, Quoted) else _number(tree.value)
    return "the answer itself"
