"""The language of conditions: what it gives, what it refuses, and that it always ends."""

from __future__ import annotations

import itertools
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ema_server.surveys.expressions import ExpressionFault, evaluate, facts, holds, kind_of, names, parse
from ema_server.surveys.reach import Domain, can_hold

EXAMPLES = json.loads((Path(__file__).parents[3] / "docs" / "expressions.json").read_text())
ANSWERS, FACTS = EXAMPLES["answers"], EXAMPLES["facts"]


@pytest.mark.parametrize("case", EXAMPLES["expressions"], ids=lambda case: case["expression"])
def test_an_expression_gives_what_the_examples_for_phones_say(case: dict[str, Any]) -> None:
    value = evaluate(parse(case["expression"]), ANSWERS, FACTS)
    assert (value, type(value) is bool) == (case["gives"], type(case["gives"]) is bool)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "an expression is a text"),
        ("stress >", "something is missing at the end at character 9"),
        ("stress > 60 and", "something is missing at the end"),
        ("(stress > 60", "')' is missing at character 13"),
        ("stress > 60)", "')' was not expected at character 12"),
        ("who == 'friends", "this quotation mark has no partner at character 8"),
        ("stress ; 3", "';' means nothing here at character 8"),
        ("1 < stress < 5", "compare two things at a time"),
        ("boom(stress)", "there is no function boom; there are answered"),
        ("selected(body)", "selected takes 2 values, here are 1"),
        ("@mood == 1", "there is no fact @mood; there are @day"),
        ("stress in [calm]", "a list holds numbers and texts alone"),
        ("1" * 16 + " > stress", "a number has at most 15 digits"),
        ("(" * 30 + "stress > 1" + ")" * 30, "at most 20 levels deep"),
        ("a" * 1_000_000, "at most 1,000 characters; this one has 1,000,000"),
        ("1" + "+1" * 120, "at most 200 parts"),
        ("__import__('os').system('x')", "'.' means nothing here"),
        ("stress.real > 3", "'.' means nothing here"),
        ("a if b else c", "'if' was not expected"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, words: str) -> None:
    with pytest.raises(ExpressionFault) as fault:
        parse(text)
    assert words in fault.value.message


KINDS = {"stress": "number", "calm": "number", "alone": "flag", "who": "text", "body": "list", "bed": "text"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stress == 'high'", "stress (a number) cannot be compared with 'high' (a text)"),
        ("who > 3", "who (a text) cannot be compared with 3 (a number)"),
        ("body == 'headache'", "body (a list) cannot be compared"),
        ("alone > true", "neither more nor less"),
        ("stress and alone", "and needs a condition; stress (a number) is none"),
        ("who + 1 > 2", "+ needs a number; who (a text) is none"),
        ("selected(who, 'friends')", "selected needs an item with several choices"),
        ("count(stress) > 1", "count needs an item with several choices"),
        ("who in [1, 2]", "who (a text) is never 1"),
        ("who in who", "in needs a list"),
    ],
)
def test_kinds_that_can_never_agree_are_told_at_design_time(text: str, words: str) -> None:
    with pytest.raises(ExpressionFault) as fault:
        kind_of(parse(text), KINDS)
    assert words in fault.value.message


def test_names_and_facts_are_listed() -> None:
    node = parse("stress > 1 and (alone or @day == 2) and mean(calm, stress) > @hour")
    assert (names(node), facts(node)) == ({"stress", "alone", "calm"}, {"day", "hour"})


tokens = st.sampled_from(
    ["stress", "alone", "who", "body", "missing", "1", "0", "2.5", "'friends'", "true", "and", "or", "not", "in", "(",
     ")", "[", "]", ",", "+", "-", "*", "/", "==", "!=", "<", ">=", "mean(", "count(", "selected(", "@day", "@wave",
     "999999999999999"]
)  # fmt: skip


@given(st.lists(tokens, max_size=60).map(" ".join))
def test_whatever_is_written_either_is_told_to_be_wrong_or_ends(text: str) -> None:
    try:
        node = parse(text)
    except ExpressionFault:
        return
    evaluate(node, ANSWERS, FACTS)
    evaluate(node, {}, {})


@given(st.text(max_size=200))
def test_any_text_at_all_is_read_or_refused(text: str) -> None:
    with suppress(ExpressionFault):
        parse(text)


def test_the_largest_expression_is_quick() -> None:
    text = " or ".join(["s*s*s>1"] * 28)
    node = parse(text)
    began = time.process_time()
    for _ in range(100):
        evaluate(node, {"s": 1e15}, {})
    assert time.process_time() - began < 5  # 0.1 s here: it only has to end


@pytest.mark.parametrize(
    ("text", "possible"),
    [
        ("x > 5", False),
        ("x >= 5", True),
        ("x > 2 and x < 3", False),
        ("y > 2 and y < 3", True),
        ("x == 2.5", False),
        ("y > 100", False),
        ("x < 1", False),
        ("not (x >= 1)", True),  # unanswered
        ("who == 'stranger'", False),
        ("who in ['friends', 'stranger']", True),
        ("selected(body, 'fever')", False),
        ("selected(body, 'tired') and not selected(body, 'headache')", True),
        ("selected(body, 'tired') and selected(body, 'headache') and count(body) == 1", True),  # not decided: believed
        ("alone and not alone", False),
        ("@weekday == 8", False),
        ("@weekday in [6, 7]", True),
        ("@day == 0", False),
        ("@day >= 400", True),
        ("@arm == 'a' and @arm == 'b'", False),
        ("x > y + 200", True),  # not decided: believed
        ("x == 1 and answered(x)", True),
        ("x == 1 and not answered(x)", False),
    ],
)
def test_a_condition_that_can_never_be_true_is_found(text: str, possible: bool) -> None:
    domains = {
        "x": Domain("number", 1, 5, whole=True),
        "y": Domain("number", 0, 100),
        "alone": Domain("flag"),
        "who": Domain("text", values=("nobody", "friends")),
        "body": Domain("list", values=("headache", "tired")),
    }
    assert can_hold(parse(text), domains) is possible


comparison = st.tuples(
    st.sampled_from(["x", "y"]), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), st.integers(0, 6)
).map(lambda parts: f"{parts[0]} {parts[1]} {parts[2]}")
condition = st.recursive(
    comparison,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        inner.map(lambda text: f"(not {text})"),
    ),
    max_leaves=6,
)


@given(condition)
def test_what_is_called_impossible_is_impossible_for_every_answer(text: str) -> None:
    node = parse(text)
    domains = {"x": Domain("number", 1, 5, whole=True), "y": Domain("number", 1, 5, whole=True)}
    cases = itertools.product([None, 1, 2, 3, 4, 5], repeat=2)
    assert can_hold(node, domains) is any(holds(node, {"x": x, "y": y}, {}) for x, y in cases)
