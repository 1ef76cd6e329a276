"""Formula + frame → `Design`: the last module to see a frame.

The fixed part and each bracket of the random part are `Terms`, formulaic's where a term is more than a plain column.
A design column is a constant, a raw column, or its within or between part; the latter two are never stored as rows,
since a person's moments of the raw column hold them exactly (METHODS §2.14).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd
from formulaic import Formula
from formulaic import ModelSpec as FormulaicSpec
from formulaic.errors import DataMismatchWarning, FormulaicError
from formulaic.parser.types import Term

from analysis.centering import at_rows, boundaries, mean_of_persons, numeric, person_means
from analysis.checks import refuse_frame, refuse_outcome_as_predictor
from analysis.errors import DesignError, SpecError, unknown_column
from analysis.factors import Factor, is_nested, read_factor
from analysis.formula_functions import refuse_large_powers, refuse_other_code
from analysis.lags import LagCount
from analysis.occasions import Occasions, refuse_unnamed, with_day_parts, with_lags
from analysis.spec import ModelSpec, Prepared, RandomTerm, SplitColumn, TimedColumn, parse_formula, prepare

INTERCEPT = "Intercept"


@dataclass(frozen=True, slots=True)
class Column:
    """One design column: its name, what it is, and the raw column behind it (−1 for the constant)."""

    name: str
    kind: Literal["one", "raw", "within", "between"]
    source: int


@dataclass(frozen=True)
class Terms:
    """One part of a formula: how it turns a frame that holds its columns (splits included) into a matrix.

    names : the matrix's columns
    blueprint : formulaic's memory of levels and transforms; None where every term is a plain numeric column
    """

    prepared: Prepared
    names: tuple[str, ...]
    blueprint: FormulaicSpec | None

    def matrix(self, frame: pd.DataFrame) -> np.ndarray:
        """(rows, columns), also for a frame not seen before. Raises DesignError for a level not seen before."""
        if self.blueprint is None:
            out = np.ones((len(frame), len(self.names)))
            for j, name in enumerate(self.names):
                if name != INTERCEPT:
                    out[:, j] = numeric(frame, name)
            return out
        return _materialise(self.blueprint, frame)[0]


@dataclass(frozen=True)
class Design:
    """The data of one model, rows sorted by person, the levels of the primary factor; a person's rows keep their order.

    values : the raw columns, (n,) each, the outcome last; empty for a model fitted from a state, which keeps no rows
    raw : their names;  outcome_terms : how the outcome is made
    starts : (persons + 1,) person i has rows starts[i]:starts[i + 1];  levels : the persons
    fixed, random : the columns of X and Z, factor by factor;  blocks : sizes of Z's blocks of correlated terms
    several : the grouping factors, where there is more than one;  primary : the name of the one that rows are sorted by
    positions : (n,) each row's place in the frame given;  index : that frame's index, in the order of `positions`
    weights, offset : (n,) or None
    occasions : how columns such as lag(x) and within_day(x) were made
    lent : the rows' frame, which shares its columns with `values`: as long as it lives, pandas copies before it changes them
    row_dependent : design columns that a person's other rows take part in and that no moments of raw columns hold
    """

    spec: ModelSpec
    values: tuple[np.ndarray, ...]
    raw: tuple[str, ...]
    outcome_terms: Terms
    starts: np.ndarray
    levels: pd.Index
    fixed: tuple[Column, ...]
    random: tuple[Column, ...]
    blocks: tuple[int, ...]
    fixed_terms: Terms
    random_terms: tuple[Terms, ...]
    splits: tuple[SplitColumn, ...]
    positions: np.ndarray
    index: pd.Index
    rows_dropped: int
    missing: dict[str, int]
    weights: np.ndarray | None
    offset: np.ndarray | None
    occasions: Occasions = field(default_factory=Occasions)
    lent: pd.DataFrame | None = field(default=None, repr=False)
    row_dependent: tuple[str, ...] = ()
    several: tuple[Factor, ...] = ()
    primary: str = ""

    @property
    def lags(self) -> tuple[LagCount, ...]:
        """What became of each lagged column's pairs."""
        return self.occasions.counts

    @property
    def factor(self) -> str:
        """The name of the primary grouping factor, whose levels are called persons."""
        return self.primary

    @property
    def group(self) -> tuple[str, ...]:
        """Its columns."""
        return next(term.group for term in self.spec.random if term.factor == self.primary)

    @property
    def factors(self) -> tuple[Factor, ...]:
        """All grouping factors, in the formula's order."""
        if self.several:
            return self.several
        codes = np.repeat(np.arange(self.n_persons), np.diff(self.starts))
        parts = (self.levels,) if len(self.group) == 1 else _split_levels(self.levels, len(self.group))
        return (Factor(self.group, self.levels, codes, slice(0, len(self.random)), parts),)

    def place_of(self, group: str | None) -> int:
        """The number of a grouping factor by name (columns in either order), of the primary one for None; else SpecError."""
        wanted = sorted((self.primary if group is None else str(group)).split(":"))
        names = [factor.name for factor in self.factors]
        for place, name in enumerate(names):
            if sorted(name.split(":")) == wanted:
                return place
        raise SpecError(f"the model has no grouping factor {group!r}; it has {', '.join(map(repr, names))}.")

    def rows_of(self, factor: Factor) -> np.ndarray:
        """(levels,) how many rows each level of a factor has."""
        return np.bincount(factor.codes, minlength=len(factor.levels)) if self.several else np.diff(self.starts)

    @property
    def persons(self) -> Factor:
        """The primary factor."""
        return self.factors[self.place_of(None)]

    @property
    def n_obs(self) -> int:
        return int(self.starts[-1])

    @property
    def has_rows(self) -> bool:
        return bool(self.values)

    @property
    def n_persons(self) -> int:
        return len(self.starts) - 1

    @property
    def outcome(self) -> np.ndarray:
        """(n,) the outcome, rows sorted by person."""
        return self.column(-1)

    def column(self, source: int) -> np.ndarray:
        """(n,) a raw column by its number, rows sorted by person. Raises SpecError where no rows were kept."""
        if not self.has_rows:
            raise SpecError(
                "this model was fitted from a state, which keeps no rows; give newdata=, or fit the rows with lmm()."
            )
        return self.values[source]

    @property
    def fixed_names(self) -> list[str]:
        return [column.name for column in self.fixed]

    @property
    def random_names(self) -> list[str]:
        return [column.name for column in self.random]

    def matrix(self, columns: Sequence[Column]) -> np.ndarray:
        """(n, len(columns)) of design columns, rows sorted by person."""
        sizes = np.diff(self.starts)
        out = np.ones((len(self.column(0)), len(columns)))
        for j, column in enumerate(columns):
            if column.kind == "one":
                continue
            values = self.column(column.source)
            if column.kind != "raw":
                means = person_means(values, self.starts)
                spread = np.repeat(means, sizes)
                values = values - spread if column.kind == "within" else spread - mean_of_persons(means)
            out[:, j] = values
        return out


def build_design(
    formula: str,
    frame: pd.DataFrame,
    *,
    person: str | None = None,
    day: str | None = None,
    prompt: str | None = None,
    weights: str | None = None,
    offset: str | None = None,
    also: Sequence[str] = (),
) -> Design:
    """Read the formula, drop rows with a missing value in a used column, and lay the rest out person by person.

    also : further columns that a row must have, for `Design.lent` to hold
    """
    spec = parse_formula(formula)
    refuse_frame(frame)
    columns = [str(name) for name in frame.columns]
    where = f"the formula {formula!r}"
    outcome = prepare(spec.outcome, columns, where)
    fixed = prepare(spec.fixed, columns, where)
    random = [prepare(term.terms, columns, where) for term in spec.random]
    extra = [*(name for name in (weights, offset) if name is not None), *also]
    parts = (outcome, fixed, *random)
    refuse_outcome_as_predictor(outcome, parts[1:], where)
    grouping = [name for term in spec.random for name in term.group]
    used = list(dict.fromkeys([*(name for part in parts for name in part.columns), *grouping, *extra]))
    splits = tuple(dict.fromkeys(split for part in parts for split in part.splits))
    timed = tuple(dict.fromkeys(column for part in parts for column in part.timed))
    group = _primary(spec, person, [*(split.name for split in splits), *(column.name for column in timed)])
    refuse_unnamed(timed, day, prompt, frame)
    if timed and day is not None:
        used = list(dict.fromkeys([*used, day]))
    _refuse_bad_columns(_in_the_frame(used, timed, prompt), columns, where)

    lagged = with_lags(frame, timed, used, group, day, prompt)
    data, kept, missing = _complete_rows(lagged.frame, used)
    starts, levels, order = sort_by_person(data, group)
    _refuse_one_level(":".join(group), levels)
    data = data if order is None else data.iloc[order]
    positions = kept if order is None else kept[order]
    data, days = with_day_parts(data, timed, starts, levels, day)

    store = _RawColumns(data, starts)
    whole = _with_splits(data, splits, starts) if not _all_plain(parts, data) else data
    fixed_terms, fixed_columns = _build_terms(fixed, whole, store, where)
    random_terms: list[Terms] = []
    random_columns: list[Column] = []
    blocks: list[int] = []
    several: list[Factor] = []
    for name in spec.factors:
        first = len(random_columns)
        for term, part in zip(spec.random, random, strict=True):
            for piece in _independent_pieces(term, part) if term.factor == name else ():
                built, own = _build_terms(piece, whole, store, where)
                random_terms.append(built)
                random_columns.extend(own)
                blocks.append(len(own))
        _refuse_repeats([made.name for made in random_columns[first:]], name, spec)
        if len(spec.factors) > 1:
            columns_of = next(term.group for term in spec.random if term.factor == name)
            several.append(read_factor(data, columns_of, slice(first, len(random_columns))))
            _refuse_one_level(name, several[-1].levels)
    _refuse_same_factor(several, [made.name for made in random_columns])
    if not fixed_columns:
        raise SpecError(f"{where} has no fixed effect; write 1 for an intercept.")
    outcome_terms, values = _outcome(outcome, whole, where)
    return Design(
        spec=spec,
        values=(*store.values, values),
        raw=(*store.names, spec.outcome),
        outcome_terms=outcome_terms,
        starts=starts,
        levels=levels,
        fixed=tuple(fixed_columns),
        random=tuple(random_columns),
        blocks=tuple(blocks),
        fixed_terms=fixed_terms,
        random_terms=tuple(random_terms),
        splits=splits,
        positions=positions,
        index=frame.index if len(positions) == len(frame) and order is None else frame.index[positions],
        rows_dropped=len(frame) - len(data),
        missing=missing,
        weights=None if weights is None else numeric(data, weights),
        offset=None if offset is None else numeric(data, offset),
        occasions=Occasions(
            timed, group, day, prompt, lagged.counts, lagged.usual_of(positions[starts[:-1]], levels), days
        ),
        lent=data,
        row_dependent=_row_dependent((fixed_terms, *random_terms)),
        several=tuple(several),
        primary=":".join(group),
    )


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a design's raw columns, sorted by person: levels, starts (persons + 1,), values (n,) each, occasions."""

    levels: pd.Index
    starts: np.ndarray
    values: tuple[np.ndarray, ...]
    occasions: Occasions


def rows_like(design: Design, frame: pd.DataFrame) -> Rows:
    """The complete rows of another frame, their columns made as the design's were (levels and transforms included).

    Raises SpecError for a missing column and DesignError for a level that the design does not know.
    """
    refuse_frame(frame)
    where = f"the formula {design.spec.formula!r}"
    group, made_in_time = design.group, design.occasions
    terms = (design.outcome_terms, design.fixed_terms, *design.random_terms)
    day, prompt, timed = made_in_time.day, made_in_time.prompt, made_in_time.columns
    used = list(dict.fromkeys([*(name for part in terms for name in part.prepared.columns), *group]))
    used = list(dict.fromkeys([*used, day])) if timed and day is not None else used
    _refuse_bad_columns(_in_the_frame(used, timed, prompt), [str(name) for name in frame.columns], where)
    lagged = with_lags(frame, timed, used, group, day, prompt)
    data, kept, _ = _complete_rows(lagged.frame, used)
    starts, levels, order = sort_by_person(data, group)
    first = (kept if order is None else kept[order])[starts[:-1]]
    data, days = with_day_parts(data if order is None else data.iloc[order], timed, starts, levels, day)
    whole = data if all(part.blueprint is None for part in terms) else _with_splits(data, design.splits, starts)
    made = {
        name: values
        for part in terms
        if part.blueprint is not None
        for name, values in zip(part.names, part.matrix(whole).T, strict=True)
    }
    names = (*design.raw[:-1], design.outcome_terms.names[0])
    values = tuple(made[name] if name in made else numeric(data, name) for name in names)
    occasions = replace(made_in_time, counts=lagged.counts, usual=lagged.usual_of(first, levels), days=days)
    return Rows(levels, starts, values, occasions)


def _refuse_bad_columns(used: Sequence[str], columns: list[str], where: str) -> None:
    for name in used:
        if name not in columns:
            raise unknown_column(name, columns, where)
        if columns.count(name) > 1:
            raise DesignError(f"the frame has {columns.count(name)} columns named {name!r}; keep one.")


def _in_the_frame(used: Sequence[str], timed: Sequence[TimedColumn], prompt: str | None) -> list[str]:
    """The columns that the frame itself must have, where `used` holds columns in time by their names."""
    made = {column.name for column in timed}
    base = [name for name in used if name not in made]
    base += [column.column for column in timed]
    return [*base, prompt] if timed and prompt is not None else base


def _row_dependent(parts: Sequence[Terms]) -> tuple[str, ...]:
    """Columns made of lags or day parts, and functions and products of columns made of a person's means."""
    out: dict[str, None] = {}
    for terms in parts:
        timed = {column.name for column in terms.prepared.timed}
        made = timed | {split.name for split in terms.prepared.splits}
        if terms.blueprint is None:
            out |= dict.fromkeys(name for name in terms.names if name in timed)
            continue
        for term, _, names in terms.blueprint.structure:
            expressions = [str(factor.expr) for factor in term.factors]
            plain = len(expressions) == 1 and expressions[0] in made - timed
            if not plain and any(name in expression for name in made for expression in expressions):
                out |= dict.fromkeys(map(_written, names))
    return tuple(out)


class _RawColumns:
    """Collects the raw columns of a design, each once."""

    def __init__(self, data: pd.DataFrame, starts: np.ndarray) -> None:
        self.data = data
        self.starts = starts
        self.names: list[str] = []
        self.values: list[np.ndarray] = []

    def column(self, name: str) -> int:
        """The number of a numeric column of the frame."""
        if name not in self.names:
            self.add(name, numeric(self.data, name))
        return self.names.index(name)

    def add(self, name: str, values: np.ndarray) -> int:
        if not np.isfinite(values).all():
            where = at_rows(~np.isfinite(values), self.data.index)
            raise DesignError(f"the term {name!r} is missing or infinite in {where}; look at its transformation.")
        self.names.append(name)
        self.values.append(values)
        return len(self.names) - 1


def _primary(spec: ModelSpec, person: str | None, made: Sequence[str]) -> tuple[str, ...]:
    """The columns of the factor whose levels are the persons: the one named, else the only one, or the only one of one column.

    Where columns are `made` of a person's rows and several factors could be the persons, one must be named.
    """
    groups = {term.factor: term.group for term in spec.random}
    if person is not None:
        if person not in groups:
            raise SpecError(f"person={person!r} must be a grouping factor of the formula: {', '.join(groups)}.")
        return groups[person]
    single = [group for group in groups.values() if len(group) == 1]
    if len(groups) > 1 and len(single) != 1 and made:
        raise SpecError(
            f"the formula {spec.formula!r} has the grouping factors {', '.join(groups)}; say with person= whose means "
            f"{made[0]} takes."
        )
    return single[0] if single else spec.random[0].group


def _refuse_same_factor(factors: Sequence[Factor], names: Sequence[str]) -> None:
    """Two factors with the same levels under other names, and a random term that both have."""
    for place, one in enumerate(factors):
        for other in factors[:place]:
            shared = [name for name in names[one.terms] if name in names[other.terms]]
            if shared and len(one.levels) == len(other.levels) and is_nested(one, other):
                raise DesignError(
                    f"the grouping factors {other.name!r} and {one.name!r} have the same rows in each level: the spreads of "
                    f"{shared[0]!r} cannot be told apart; leave one out."
                )


def _split_levels(levels: pd.Index, columns: int) -> tuple[pd.Index, ...]:
    """The parts of joined levels; a column's own colons go to the last."""
    pieces = [str(level).split(":", columns - 1) for level in levels]
    return tuple(pd.Index(list(part)) for part in zip(*pieces, strict=True))


def _refuse_one_level(name: str, levels: pd.Index) -> None:
    if len(levels) < 2:
        raise DesignError(f"the grouping factor {name!r} has only one level in the rows used: {str(levels[0])!r}.")


def _complete_rows(frame: pd.DataFrame, used: list[str]) -> tuple[pd.DataFrame, np.ndarray, dict[str, int]]:
    """The used columns of the complete rows, those rows' positions, and how many values each column lacked."""
    data = pd.DataFrame({name: _single_values(frame[name]) for name in used}, copy=False)  # lent, not copied
    absent = {name: np.asarray(data[name].isna()) for name in used}
    missing = {name: int(mask.sum()) for name, mask in absent.items() if mask.any()}
    if not missing:
        positions = np.arange(len(frame))
    else:
        positions = np.flatnonzero(~np.logical_or.reduce([absent[name] for name in missing]))
        data = data.iloc[positions]
    if not len(data):
        worst = ", ".join(f"{name!r} ({count} of {len(frame)})" for name, count in missing.items()) or "the frame"
        raise DesignError(f"no row is complete; missing values: {worst}.")
    return data, positions, missing


def _single_values(column: pd.Series) -> pd.Series:
    """The column, text as pandas's own text. Raises DesignError where it holds lists and the like."""
    if isinstance(column.dtype, pd.StringDtype):
        return column.astype("str")
    if column.dtype == object:
        try:
            column.nunique()
        except TypeError as error:
            raise DesignError(f"column {column.name!r} holds lists or tables; one value a row is needed.") from error
    return column


def sort_by_person(data: pd.DataFrame, group: tuple[str, ...]) -> tuple[np.ndarray, pd.Index, np.ndarray | None]:
    """Where each level's rows start (levels + 1,), the levels, and the order (n,) that brings the rows there, or None.

    Levels ascend, or stand in a categorical's own order; a level's rows keep their order.
    """
    if len(group) > 1:
        factor = read_factor(data, group, slice(0, 0))
        order = np.argsort(factor.codes, kind="stable")
        return boundaries(factor.codes[order]), factor.levels, order
    keys = data[group[0]]
    if isinstance(keys.dtype, pd.CategoricalDtype):
        keys = keys.cat.remove_unused_categories()
        codes, levels = np.asarray(keys.cat.codes, dtype=np.int64), keys.cat.categories
    else:
        values = keys.to_numpy()
        if values.dtype.kind in "iu" and (values[1:] >= values[:-1]).all():  # sorted already: no hashing
            starts = boundaries(values)
            return starts, pd.Index(values[starts[:-1]], name=keys.name), None
        codes, levels = pd.factorize(keys, sort=True)
        levels = pd.Index(levels)
    if (codes[1:] >= codes[:-1]).all():
        return boundaries(codes), levels, None
    order = np.argsort(codes, kind="stable")
    return boundaries(codes[order]), levels, order


def _plain_names(part: Prepared, data: pd.DataFrame) -> list[str] | None:
    """The part's columns if each of its terms is a numeric column, a split or the constant; otherwise None."""
    splits = {split.name for split in part.splits}
    names = []
    for term in _parsed(part):
        if len(term.factors) != 1:
            return None
        expression = str(term.factors[0].expr)
        if expression == "1":
            names.append(INTERCEPT)
        elif expression in splits or (expression in data.columns and _is_numeric(data[expression])):
            names.append(expression)
        else:
            return None
    return names


def _all_plain(parts: Sequence[Prepared], data: pd.DataFrame) -> bool:
    return all(_plain_names(part, data) is not None for part in parts)


def _is_numeric(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype))


def _parsed(part: Prepared) -> list[Term]:
    """The part's terms. Raises SpecError for what cannot be read, and for code that no formula may hold."""
    refuse_large_powers(part.text)
    try:
        terms: list[Term] = list(Formula(part.text))
    except (FormulaicError, SyntaxError, RecursionError, ValueError) as error:
        raise SpecError(f"cannot read {part.text[:200]!r}: {str(error)[:500]}") from error
    for factor in {factor for term in terms for factor in term.factors if factor.eval_method.value == "python"}:
        refuse_other_code(str(factor.expr), part.columns, f"the formula's {part.text[:200]!r}")
    return terms


def _with_splits(data: pd.DataFrame, splits: Sequence[SplitColumn], starts: np.ndarray) -> pd.DataFrame:
    """The frame with the columns within(x) and between(x), made on exactly these rows."""
    made = {}
    for split in splits:
        values = numeric(data, split.column)
        means = person_means(values, starts)
        spread = np.repeat(means, np.diff(starts))
        made[split.name] = values - spread if split.kind == "within" else spread - mean_of_persons(means)
    return data.assign(**made)


def _build_terms(part: Prepared, whole: pd.DataFrame, store: _RawColumns, where: str) -> tuple[Terms, list[Column]]:
    """The part's terms and its design columns; raw columns go to the store."""
    plain = _plain_names(part, whole)
    if plain is not None:
        terms, values = Terms(part, tuple(plain), None), None
    else:
        _refuse_empty_levels(part, whole)
        _refuse_moments(part, whole)
        try:
            values, blueprint = _materialise(_blueprint(part, whole), whole)
        except FormulaicError as error:
            raise SpecError(f"{where}: {error}") from error
        _refuse_single_levels(blueprint)
        terms = Terms(part, tuple(map(_written, blueprint.column_names)), blueprint)
    splits = {split.name: split for split in part.splits}
    columns = []
    for j, name in enumerate(terms.names):
        if name == INTERCEPT:
            columns.append(Column(name, "one", -1))
        elif name in splits:
            columns.append(Column(name, splits[name].kind, store.column(splits[name].column)))
        elif name in store.data.columns and _is_numeric(store.data[name]):
            columns.append(Column(name, "raw", store.column(name)))
        else:
            assert values is not None  # a plain part has only the names above
            known = name in store.names
            columns.append(Column(name, "raw", store.names.index(name) if known else store.add(name, values[:, j])))
    return terms, columns


def _written(name: str) -> str:
    """A term's name as people wrote it, without the quotes that `prepare` put around a made column."""
    return name.replace("`", "")


def _blueprint(part: Prepared, whole: pd.DataFrame) -> FormulaicSpec:
    """Terms that formulaic has not seen data for yet; nothing is looked up outside the frame."""
    return FormulaicSpec.from_spec(Formula(_parsed(part)), na_action="ignore", output="pandas")


def _materialise(blueprint: FormulaicSpec, frame: pd.DataFrame) -> tuple[np.ndarray, FormulaicSpec]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataMismatchWarning)
        try:
            matrix = blueprint.get_model_matrix(frame, context={})
        except DataMismatchWarning as error:
            raise DesignError(f"a categorical column holds a level that the model has not seen: {error}") from error
    return np.asarray(matrix, dtype=float), matrix.model_spec


def _refuse_empty_levels(part: Prepared, data: pd.DataFrame) -> None:
    for name in part.columns:
        if isinstance(data[name].dtype, pd.CategoricalDtype):
            counts = data[name].value_counts(sort=False)
            empty = [str(level) for level, count in counts.items() if count == 0]
            if empty:
                raise DesignError(
                    f"column {name!r}: no row used has the level {', '.join(empty)}; "
                    "drop it with .cat.remove_unused_categories()."
                )


def _refuse_moments(part: Prepared, data: pd.DataFrame) -> None:
    for name in (str(factor.expr) for term in _parsed(part) for factor in term.factors):
        if name in data.columns and pd.api.types.is_datetime64_any_dtype(data[name].dtype):
            raise DesignError(f"column {name!r} holds moments; make numbers of them, such as days since the start.")
        if name in data.columns and data[name].dtype.kind == "m":
            raise DesignError(f"column {name!r} holds durations; make numbers of them, as with .dt.total_seconds().")
        if name in data.columns and isinstance(data[name].dtype, (pd.PeriodDtype, pd.IntervalDtype)):
            raise DesignError(f"column {name!r} holds {data[name].dtype}; make numbers or categories of them.")


def _refuse_single_levels(blueprint: FormulaicSpec) -> None:
    """formulaic leaves a categorical with one level out without a word."""
    for term, _, columns in blueprint.structure:
        if not columns:
            raise DesignError(f"the term {str(term)!r} has one level only in the rows used; leave it out.")


def _independent_pieces(term: RandomTerm, part: Prepared) -> list[Prepared]:
    """`(x || g)` is `(1 | g) + (0 + x | g)`, as in lme4; other brackets are one piece."""
    if term.correlated:
        return [part]
    pieces = []
    for parsed in _parsed(part):
        text = ":".join(f"`{f.expr}`" if f.eval_method.value == "lookup" else str(f.expr) for f in parsed.factors)
        pieces.append(replace(part, text="1" if text == "1" else f"0+{text}"))
    return pieces


def _refuse_repeats(names: list[str], factor: str, spec: ModelSpec) -> None:
    for name in names:
        if names.count(name) > 1:
            raise SpecError(
                f"the formula {spec.formula!r}: the random term {name!r} stands twice for {factor!r}; "
                "write (0 + x | group) where another bracket has the intercept."
            )


def _outcome(part: Prepared, whole: pd.DataFrame, where: str) -> tuple[Terms, np.ndarray]:
    """How the outcome is made, and its values (n,)."""
    if part.splits or part.timed:
        names = [made.name for made in part.splits] + [made.name for made in part.timed]
        raise SpecError(f"{where}: {names[0]} is for predictors, not for the outcome.")
    if len(part.columns) == 1 and part.text.strip("`") == part.columns[0]:
        return Terms(part, part.columns, None), numeric(whole, part.columns[0])
    part = Prepared(f"0+{part.text}", part.columns, ())
    try:
        values, blueprint = _materialise(_blueprint(part, whole), whole)
    except FormulaicError as error:
        raise SpecError(f"{where}: {error}") from error
    if values.shape[1] != 1:
        raise SpecError(f"{where}: the outcome must be one number per row, not {', '.join(blueprint.column_names)}.")
    if not np.isfinite(values).all():
        rows = at_rows(~np.isfinite(values[:, 0]), whole.index)
        raise DesignError(f"{where}: after its transformation the outcome is missing or infinite in {rows}.")
    return Terms(part, tuple(blueprint.column_names), blueprint), values[:, 0]
