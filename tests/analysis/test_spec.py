from __future__ import annotations

import pytest

from analysis import SpecError
from analysis.spec import RandomTerm, parse_formula, prepare, rename_words


def test_random_terms_are_split_off_the_fixed_part():
    spec = parse_formula("mood ~ stress * I(day ** 2) + (1 + stress | person) + log(day)")
    assert spec.outcome == "mood"
    assert spec.fixed.replace(" ", "") == "stress*I(day**2)+log(day)"
    assert spec.random == (RandomTerm("1 + stress", ("person",), correlated=True),)


def test_a_formula_with_only_random_terms_keeps_an_intercept():
    assert parse_formula("y ~ (1 | g)").fixed == "1"


@pytest.mark.parametrize(
    ("bracket", "expected"),
    [
        ("(x || g)", [RandomTerm("x", ("g",), correlated=False)]),
        ("(1 | a:b)", [RandomTerm("1", ("a", "b"), correlated=True)]),
        ("(1 | a/b)", [RandomTerm("1", ("a",), correlated=True), RandomTerm("1", ("a", "b"), correlated=True)]),
        ("(0 + within(x) | my.group)", [RandomTerm("0 + within(x)", ("my.group",), correlated=True)]),
    ],
)
def test_brackets_read_as_in_lme4(bracket, expected):
    assert list(parse_formula(f"y ~ 1 + {bracket}").random) == expected


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("mood", "needs the form"),
        ("~ x + (1 | g)", "no outcome"),
        ("y ~ x", "no random term"),
        ("y ~ x + (1 | g", "unbalanced"),
        ("y ~ x + (| g)", "should read"),
        ("y ~ x + 1 | g", "outside brackets"),
        ("y ~ x * (1 | g)", "join random terms"),
        ("y ~ x + + z + (1 | g)", "operator without a term"),
        ("y ~ x + (1 | g + h)", "should be a column"),
    ],
)
def test_a_malformed_formula_is_refused_in_words(formula, words):
    with pytest.raises(SpecError, match=words):
        parse_formula(formula)


def test_within_and_between_become_columns_and_are_listed():
    prepared = prepare("within(a.b) * day + between( a.b )", ["a.b", "day"], "here")
    assert prepared.text.replace(" ", "") == "`within(a.b)`*day+`between(a.b)`"
    assert [split.name for split in prepared.splits] == ["within(a.b)", "between(a.b)"]
    assert prepared.columns == ("a.b", "day")


def test_dotted_columns_are_quoted_and_dotted_functions_are_not():
    prepared = prepare("a.b+np.log(a.b)", ["a.b"], "here")
    assert prepared.text == "`a.b`+np.log(`a.b`)"


def test_an_unknown_column_is_named_with_its_nearest_neighbours():
    with pytest.raises(SpecError, match=r"'supprt'.*did you mean 'support'"):
        prepare("supprt + day", ["support", "day"], "here")


def test_words_of_time_become_columns_that_keep_their_spelling():
    prepared = prepare("lag( within(x) )*within_day(`a b`)+log(lag(x))", ["x", "a b"], "here")
    assert prepared.text.replace(" ", "") == "`lag(within(x))`*`within_day(ab)`+log(`lag(x)`)"
    assert [(made.kind, made.column) for made in prepared.timed] == [
        ("lag_within", "x"), ("within_day", "a b"), ("lag", "x"),
    ]  # fmt: skip
    assert prepared.columns == ("lag(within(x))", "a b", "lag(x)")  # a lag needs no x in its own row


def test_words_are_renamed_where_they_are_called_and_nowhere_else():
    names = {"lag(within(x))": "before", "lag(x)": "raw", "within(x)": "w"}
    text = "y ~ lag( within(x) ) * within( `x` ) + lag(x) + lag + (1 + lag(z) | within)"
    assert rename_words(text, names) == "y ~ before * w + raw + lag + (1 + lag(z) | within)"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("within(x + z)", "one column"),
        ("within(lag(x)", "one column"),
        ("between(q)", "'q'"),
        ("within_day(lag(x))", "cannot be had"),
        ("within(within_day(x))", "cannot be had"),
    ],
)
def test_words_take_one_known_column(text, words):
    with pytest.raises(SpecError, match=words):
        prepare(text, ["x", "z"], "here")
