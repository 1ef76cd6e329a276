"""A condition of others and what it became are true for the same answers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from ema_server.surveys import expressions
from ema_server.surveys.exchange.conditions import Answers, Known, condition
from ema_server.surveys.exchange.logic import Asked, Call, LogicFault, Number, Quoted, Tree, parse

ITEMS = Answers(
    known={
        "n": Known("n", "number", "number"),
        "l": Known("l", "likert", "number", {str(value): value for value in range(1, 6)}),
        "c": Known("my_c", "choice", "text", {"a": "a", "b": "b", "c": "c"}),
        "i": Known("i", "choice", "number", {"1": 1, "2": 2, "99": 99}),
        "m": Known("m", "choices", "list", {"a": "a", "b": "b", "c": "c"}),
        "y": Known("y", "yesno", "flag", {"yes": True, "no": False}),
        "t": Known("t", "text", "text"),
        "d": Known("d", "date", "text"),
        "h": Known("h", "time", "text"),
        "info": Known("info", "information", ""),
    },
    calculations={"total": parse("${n} + ${l}", "xlsform"), "loop": parse("${loop} + 1", "xlsform")},
    gone={"where": "where was not carried over"},
)


def ours(text: str, dialect: Any = "xlsform") -> str:
    return condition(parse(text, dialect), ITEMS)


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        ("${n} > 3 and selected(${m}, 'a')", 'n > 3 and selected(m, "a")'),
        ("${c} = 'a' or ${c}='b'", 'my_c == "a" or my_c == "b"'),
        ("(${c} = 'a' or ${n} = 1) and ${l} <= 2", '(my_c == "a" or n == 1) and l <= 2'),
        ("${c} != 'a'", 'not my_c == "a"'),
        ("selected(${c}, 'a')", 'my_c == "a"'),
        ("${m} = 'a'", 'selected(m, "a") and count(m) == 1'),
        ("not(selected(${m}, 'a'))", 'not selected(m, "a")'),
        ("selected(${m}, 'a') = false()", 'not selected(m, "a")'),
        ("${y} = 'yes'", "y"),
        ("${y} = 'no'", "y == false"),
        ("${y} != 'yes'", "not y"),
        ("${t} != ''", "answered(t)"),
        ("string-length(${t}) > 0", "answered(t)"),
        ("${n} = ''", "not answered(n)"),
        ("${m} = ''", "count(m) == 0"),
        ("count-selected(${m}) >= 2", "count(m) >= 2"),
        ("3 < ${n}", "n > 3"),
        ("${n} div 2 - 1 > -3", "n / 2 - 1 > -3"),
        ("(${n} + 1) * 2 = ${l}", "(n + 1) * 2 == l"),
        ("-(${n} + 1) < 0", "-(n + 1) < 0"),
        ("${n} - (${l} - 1) > 0", "n - (l - 1) > 0"),
        ("${l} = '3'", "l == 3"),
        ("${i} = 99", "i == 99"),
        ("number(${n}) > number('3.50')", "n > 3.5"),
        ("${d} >= date('2026-01-01')", 'd >= "2026-01-01"'),
        ("${h} < '18:30:00.000+01:00'", 'h < "18:30"'),
        ("../c = 'b'", 'my_c == "b"'),
        ("${total} > 10", "n + l > 10"),
        ("true() and ${n} >= .5", "true and n >= 0.5"),
        ('${t} = "it\'s"', 't == "it\'s"'),
    ],
)
def test_xpath_becomes(theirs: str, expected: str) -> None:
    assert ours(theirs) == expected
    expressions.parse(expected)


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        ("[l] = '3' AND [m(a)] = '1'", 'l == 3 and selected(m, "a")'),
        ("[m(a)] <> '1' or [m(b)] = '0'", 'not selected(m, "a") or not selected(m, "b")'),
        ('[n]<>""', "answered(n)"),
        ("[c] <> 'a' # because\n// and more\n", 'not my_c == "a"'),
        ("sum([n], [l]) > 4 && [i] == 2", "sum(n, l) > 4 and i == 2"),
        ("round(mean([n], [l]), 0) >= 3", "round(mean(n, l)) >= 3"),
        ("[y] = '1'", None),
    ],
)
def test_redcap_becomes(theirs: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(LogicFault, match="none of the answers"):
            ours(theirs, "redcap")
    else:
        assert ours(theirs, "redcap") == expected


@pytest.mark.parametrize(
    ("theirs", "dialect", "why"),
    [
        ("${n} > today()", "xlsform", "today"),
        ("regex(${t}, '^a')", "xlsform", "regex"),
        ("if(${n} > 3, true(), false())", "xlsform", "if"),
        ("${c} = 'z'", "xlsform", "'z' is none of the answers"),
        ("${c} > 'a'", "xlsform", "none is more"),
        ("${n} = 'many'", "xlsform", "no number"),
        ("${where} = 1", "xlsform", "where was not carried over"),
        ("${later} = 1", "xlsform", "no earlier question"),
        ("${info} = 1", "xlsform", "has no answer"),
        ("${n}", "xlsform", "alone is no condition"),
        ("${n} mod 2 = 0", "xlsform", "mod"),
        ("${loop} > 1", "xlsform", "asks about itself"),
        ("${last-saved#n} = 1", "xlsform", "earlier questionnaire"),
        ("instance('x')/root/item[name = 1]", "xlsform", "no counterpart"),
        ("${n} > ", "xlsform", "missing at its end"),
        ("(${n} > 1", "xlsform", "missing"),
        ("${n} > 1 ${n}", "xlsform", "not expected"),
        ("1 < ${n} < 3", "xlsform", "three things"),
        ("(" * 50 + "${n} > 1" + ")" * 50, "xlsform", "levels deep"),
        ("${n} > 1 or " * 500 + "${n} > 1", "xlsform", "characters"),
        ("${t} = \"'\" and ${t} = '\"' and ${t} = concat('a', 'b')", "xlsform", "concat"),
        ("[baseline_arm_1][n] = 1", "redcap", "another event"),
        ("[user-name] = 'x'", "redcap", "smart variable"),
        ("[n][current-instance] = 1", "redcap", "another event or instance"),
        ("[m(z)] = '1'", "redcap", "none of the answers"),
        ("datediff([d], 'today', 'd') > 3", "redcap", "datediff"),
        ("[n]^2 > 4", "redcap", r"\^"),
    ],
)
def test_what_has_no_counterpart_says_why(theirs: str, dialect: Any, why: str) -> None:
    with pytest.raises(LogicFault, match=why):
        ours(theirs, dialect)


# --- what XPath says, written independently of the translation: unanswered is the empty text, which as a number is NaN

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def _number(value: Any) -> float:
    if isinstance(value, bool):
        return float(value)
    try:
        return float(value)
    except ValueError:
        return float("nan")


def xpath(tree: Tree, answers: Mapping[str, str]) -> Any:
    if isinstance(tree, Quoted):
        return tree.text
    if isinstance(tree, Number):
        return float(tree.value)
    if isinstance(tree, Asked):
        return answers.get(tree.name, "")
    assert isinstance(tree, Call)
    if tree.name == "selected":
        asked, choice = (xpath(each, answers) for each in tree.operands)
        return choice in asked.split()
    given = [xpath(each, answers) for each in tree.operands]
    match tree.name:
        case "and" | "or":
            return (all if tree.name == "and" else any)(given)
        case "not":
            return not given[0]
        case "count-selected":
            return float(len(given[0].split()))
        case "string-length":
            return float(len(given[0]))
        case "+" | "-" | "*":
            left, right = map(_number, given)
            return {"+": left + right, "-": left - right, "*": left * right}[tree.name]
    left, right = given
    if tree.name not in {"=", "!="} or isinstance(left, float) or isinstance(right, float):
        left, right = _number(left), _number(right)
    return _COMPARE[tree.name](left, right)


SIGNS = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
SMALL = st.integers(0, 6).map(str)
AMOUNT = st.recursive(
    st.sampled_from(["${n}", "${l}", "${i}", "count-selected(${m})"]) | SMALL,
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*"]), inner),
    max_leaves=4,
)
ATOM = st.one_of(
    st.builds("{} {} {}".format, AMOUNT.filter(lambda text: "$" in text), SIGNS, AMOUNT),
    st.builds("{} {} ${{n}}".format, SMALL, SIGNS),
    st.builds("${{c}} {} '{}'".format, st.sampled_from(["=", "!="]), st.sampled_from("abc")),
    st.builds("${{l}} {} '{}'".format, SIGNS, st.integers(1, 5)),
    st.builds("${{y}} {} '{}'".format, st.sampled_from(["=", "!="]), st.sampled_from(["yes", "no"])),
    st.builds("selected(${{{}}}, '{}')".format, st.sampled_from("mc"), st.sampled_from("abc")),
    st.builds("${{{}}} {} ''".format, st.sampled_from("nlcimy"), st.sampled_from(["=", "!="])),
    st.builds("${{m}} {} '{}'".format, st.sampled_from(["=", "!="]), st.sampled_from("abc")),
    st.builds("string-length(${{c}}) {} 0".format, st.sampled_from([">", "=", "!="])),
)
CONDITION = st.recursive(
    ATOM,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("{} {} {}".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("not({})".format, inner),
    ),
    max_leaves=6,
)
GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(-2, 7),
        "l": st.integers(1, 5),
        "c": st.sampled_from("abc"),
        "i": st.sampled_from([1, 2, 99]),
        "m": st.lists(st.sampled_from("abc"), unique=True),
        "y": st.booleans(),
    },
)


def _as_xpath(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(value) if isinstance(value, list) else str(value)


@settings(max_examples=300, deadline=None)
@given(CONDITION, GIVEN)
def test_what_a_condition_became_is_true_for_the_same_answers(theirs: str, given: dict[str, Any]) -> None:
    tree = parse(theirs, "xlsform")
    try:
        node = expressions.parse(condition(tree, ITEMS))
    except LogicFault as fault:
        if "none of the answers" in str(fault):  # `${l} = 0` of 1 to 5: a mistake of the form's author
            reject()
        raise
    assert expressions.kind_of(node, {known.name: known.kind for known in ITEMS.known.values()}) == "flag"
    ours = expressions.holds(node, {ITEMS.known[name].name: value for name, value in given.items()}, {})
    assert ours is bool(xpath(tree, {name: _as_xpath(value) for name, value in given.items()}))
