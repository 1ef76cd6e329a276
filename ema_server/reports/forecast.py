"""How wide the planned model's intervals will be, before anybody has answered: studies are simulated and fitted.

No answer of anybody goes in, and no size of an association is assumed: the width of a linear model's interval does not
depend on it. So this is a precision and no power, and may be seen at any time (METHODS §6).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

import analysis
from analysis.errors import AnalysisError
from analysis.simulate import Standardised, simulate_standardised
from ema_server.common.figures import number
from ema_server.reports.forecast_model import (
    PARTS,
    TIME,
    ForecastModel,
    InvalidForecast,
    Part,
    forecast_model,
    method_words,
)

MOST_ROWS = 2_000_000
"""Prompts of a simulated study; above that it would not fit the memory of a small server."""
MOST_SIMULATIONS = 10_000
FACTORS = (0.5, 1.0, 2.0)
WHOLE = {"people": (2, 100_000), "prompts": (1, 100_000), "days": (1, 10_000)}
SHARES = ("icc", "icc_predictor", "slope_sd", "serial", "compliance_icc")

Progress = Callable[[int, int], None]
Widths = Mapping[Part, "HalfWidth | None"]


@dataclass(frozen=True, slots=True)
class Assumptions:
    """All that a forecast assumes. Raises InvalidForecast for a value that cannot be meant.

    people : who answer; practice and test people never count
    prompts : counted prompts per person over the study;  prompts_per_day : on a day with prompts, the days of which are
        spread evenly over `days`, from the first day to the last
    compliance : mean share of prompts answered. Wrzus & Neubauer (2023), doi 10.1177/10731911211067538: 79 %, the mean of
        477 articles
    compliance_icc : people differ in it, beta distributed, with this share of the variance that 0 and 1 would have; at 79 %
        an SD of 16 points

    The others are rounded from two open studies of momentary feelings: 18 items of Fried et al. (2022), openESM 0001, 79
    students, and 5 of Dejonckheere et al. (2019), openESM 0012, 100 adults (docs/forecast.md has the figures of each):

    icc, icc_predictor : share of the outcome's and the predictor's variance between people (medians .30 and .24)
    slope_sd : SD between people of the within slope, in outcome SDs per predictor SD, both within persons (.15 and .17)
    serial : correlation of a person's answers three hours apart, less the person's mean (.28; .26 at about 1.7 hours)
    compliance_icc : .19 and .08
    """

    people: int
    prompts: int
    prompts_per_day: float
    days: int
    compliance: float = 0.79
    icc: float = 0.30
    icc_predictor: float = 0.30
    slope_sd: float = 0.15
    serial: float = 0.25
    compliance_icc: float = 0.15

    def __post_init__(self) -> None:
        for name, (low, high) in WHOLE.items():
            _whole(name, getattr(self, name), low, high)
        for name in SHARES:
            _number(name, getattr(self, name), lambda value: 0.0 <= value < 1.0, "a number from 0 to below 1")
        _number("compliance", self.compliance, lambda value: 0.0 < value <= 1.0, "a number above 0, up to 1")
        _number("prompts_per_day", self.prompts_per_day, lambda value: 0.0 < value <= 1440.0, "above 0, up to 1440")
        if self.people * self.prompts > MOST_ROWS:
            raise InvalidForecast(
                f"people: {self.people:,} people with {self.prompts:,} prompts each are {self.people * self.prompts:,} "
                f"rows; up to {MOST_ROWS:,} are accepted."
            )
        if self.prompts > (self.days + 1) * self.prompts_per_day:
            raise InvalidForecast(
                f"prompts: {self.prompts} do not fit into {self.days} days with {self.prompts_per_day:g} a day; up to "
                f"{math.floor(self.days * self.prompts_per_day)} are accepted."
            )

    @property
    def truth(self) -> Standardised:
        return Standardised(
            icc_outcome=self.icc,
            icc_predictor=self.icc_predictor,
            slope_sd=self.slope_sd,
            serial=self.serial,
            compliance=self.compliance,
            compliance_icc=self.compliance_icc,
        )

    def times(self, people: float, prompts: float) -> Assumptions:
        """The same for another number of people, and of prompts in the same days."""
        return replace(
            self,
            people=round(self.people * people),
            prompts=round(self.prompts * prompts),
            prompts_per_day=self.prompts_per_day * prompts,
        )

    def schedule(self) -> tuple[np.ndarray, np.ndarray]:
        """The day and the slot of each prompt, from 1."""
        asked = min(self.days, self.prompts, max(1, round(self.prompts / self.prompts_per_day)))
        nth = np.arange(self.prompts) * asked // self.prompts  # of the days with prompts
        slot = np.arange(self.prompts) - np.searchsorted(nth, nth) + 1
        return nth * self.days // asked + 1, slot

    def in_words(self) -> list[str]:
        spread = math.sqrt(self.compliance_icc * self.compliance * (1.0 - self.compliance))
        return [
            f"{self.people:,} people; {self.prompts:,} prompts each, about {self.prompts_per_day:g} on a day with prompts, "
            f"over {self.days} days.",
            f"{_percent(self.compliance)} of the prompts are answered; people differ in it by an SD of "
            f"{number(100.0 * spread, 0)} points (beta distributed). Which ones are missed has to do with nothing (missing "
            "completely at random), and nobody leaves early.",
            f"{_percent(self.icc)} of the outcome's variance and {_percent(self.icc_predictor)} of the predictor's lie between "
            "people.",
            f"People differ in their own slope by an SD of {number(self.slope_sd)}, in within-person SDs of the outcome per "
            "within-person SD of the predictor.",
            f"A person's answers three hours apart correlate by {number(self.serial)}, and less the more hours "
            "lie between.",
            "All is normally distributed; answers at the ends of a scale, single items left out and a shared rhythm of the day "
            "are not simulated.",
        ]


@dataclass(frozen=True, slots=True)
class HalfWidth:
    """How far a 95 % interval reaches to either side: the median of the simulated studies, and their 10th and 90th percentile."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Size:
    """What another number of people or prompts would give; None where it cannot be told."""

    people: int
    prompts: int
    prompts_per_day: float
    within: float | None
    between: float | None
    simulations: int
    untrusted: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """The expected precision of a study's main model.

    within : in within-person SDs of the outcome per within-person SD of the predictor;  between : in the same per
        between-person SD of the predictor. None where the model has no such part, people do not differ in the predictor,
        or no fit could be trusted
    untrusted : fits without an answer, left out;  singular : fits with a spread at its limit, which are kept
    sizes : half, the same and twice as many people, by half, the same and twice as many prompts in the same
        days; without those that no study can have, or that are too many to simulate
    """

    assumptions: Assumptions
    formula: str
    method: str
    within: HalfWidth | None
    between: HalfWidth | None
    simulations: int
    untrusted: int
    singular: int
    sizes: tuple[Size, ...]
    notes: tuple[str, ...]

    def in_words(self) -> list[str]:
        """Sentences for a page or a terminal: the result, what other sizes would give, what was assumed and fitted."""
        people = self.assumptions.people
        return [
            _part_sentence("Within persons", self.within, "within-person SD of the predictor"),
            _part_sentence(
                "Between persons", self.between, f"between-person SD of the predictor, from {people:,} people"
            ),
            "It is a width alone: nobody's answers went in, and it does not say what will be found.",
            *self._other_sizes(),
            f"From {self.simulations:,} simulated studies, each fitted by {self.formula}"
            + (f", with intervals by {self.method}." if self.method else "."),
            *self._fits(),
            *self.notes,
            *(f"Assumed: {sentence}" for sentence in self.assumptions.in_words()),
        ]

    def _other_sizes(self) -> Iterable[str]:
        own = self.assumptions
        for size in self.sizes:
            if (size.people == own.people) == (size.prompts == own.prompts):
                continue  # the study itself, or another number of both
            what = (
                f"{size.people:,} people instead of {own.people:,}"
                if size.people != own.people
                else f"{size.prompts:,} prompts instead of {own.prompts:,}, in the same days"
            )
            yield f"With {what}: within {_figure(size.within)}, between {_figure(size.between)}."

    def _fits(self) -> Iterable[str]:
        if self.untrusted:
            yield f"{self.untrusted:,} of {self.simulations:,} fits could not be trusted and are left out."
        if self.singular:
            yield (
                f"In {self.singular:,} of {self.simulations:,} fits a spread between people was at its limit (a singular fit): "
                "such studies do not tell it from none."
            )


class _Found(NamedTuple):
    """What one simulated study gave."""

    within: float
    between: float
    singular: bool
    method: str


def forecast(
    plan: Mapping[str, Any] | None,
    assumptions: Assumptions,
    *,
    simulations: int = 100,
    seed: int = 1,
    progress: Progress | None = None,
) -> Forecast:
    """Simulate the study and fit the plan's main model as a night would; the same seed gives the same forecast.

    plan : an analysis plan's document; None for the usual model. What of it was simplified is in `notes`
    progress : told how many of how many fits are done
    Each other size is fitted in a quarter of the simulations, with the same people, and told from how the widths of the same
    simulation compare, which varies less than they do. Raises InvalidForecast for what cannot be meant.
    """
    _whole("simulations", simulations, 1, MOST_SIMULATIONS)
    _whole("seed", seed, 0, 2**63 - 1)
    model = forecast_model(plan)
    sizes = _sizes(assumptions)
    few = math.ceil(simulations / 4)
    total, done = simulations + few * (len(sizes) - 1), 0
    studies: dict[Assumptions, list[_Found | None]] = {}
    for each in (assumptions, *(size for size in sizes if size != assumptions)):
        found = studies[each] = []
        for nth in range(simulations if each == assumptions else few):
            found.append(_study(model, each, np.random.default_rng([seed, nth])))
            done += 1
            if progress:
                progress(done, total)
    own = _trusted(studies[assumptions])
    widths = {part: _half_width(own, part) for part in PARTS}
    return Forecast(
        assumptions=assumptions,
        formula=model.formula(_varying(assumptions)),
        method=method_words(own[-1].method) if own else "",
        within=widths["within"],
        between=widths["between"],
        simulations=simulations,
        untrusted=simulations - len(own),
        singular=sum(each.singular for each in own),
        sizes=tuple(_size(each, studies[each], studies[assumptions], widths) for each in sizes),
        notes=(*model.notes, *_notes(model, assumptions)),
    )


def _sizes(own: Assumptions) -> list[Assumptions]:
    """By people, then prompts; those that no study can have, or that are too many to simulate, are left out."""
    found = []
    for people in FACTORS:
        for prompts in FACTORS:
            with suppress(InvalidForecast):
                found.append(own.times(people, prompts))
    return found


def _study(model: ForecastModel, assumed: Assumptions, rng: np.random.Generator) -> _Found | None:
    """One study simulated and fitted; None where the fit cannot be trusted."""
    truth = assumed.truth
    frame = simulate_standardised(truth, assumed.people, *assumed.schedule(), rng)
    try:
        fit = analysis.lmm(model.formula(_varying(assumed)), frame, reml=model.reml)
        tests = fit.tests(df=model.df)
    except (AnalysisError, np.linalg.LinAlgError):
        return None
    half = (tests["upper"] - tests["lower"]) / 2.0
    steps = {"within": 1.0, "between": truth.between_sd}
    widths = {part: float(half[f"{part}(predictor)"]) * steps[part] for part in model.parts}
    if not fit.converged or not all(map(math.isfinite, (*widths.values(), *fit.fixed["se"]))):
        return None
    return _Found(
        widths.get("within", math.nan), widths.get("between", math.nan), fit.singular, model.df or fit.df_method
    )


def _varying(assumed: Assumptions) -> set[str]:
    day, slot = assumed.schedule()
    weekend = (day - 1) % 7 >= 5
    differs = {"day": day, "slot": slot, "weekend": weekend}
    return {"hour", *(name for name, values in differs.items() if values.min() != values.max())}


def _trusted(found: Iterable[_Found | None]) -> list[_Found]:
    return [each for each in found if each is not None]


def _half_width(found: Iterable[_Found], part: Part) -> HalfWidth | None:
    values = [getattr(each, part) for each in found]
    if not values or math.isnan(values[0]) or not any(values):
        return None
    low, expected, high = np.quantile(values, [0.1, 0.5, 0.9])
    return HalfWidth(float(expected), float(low), float(high))


def _size(assumed: Assumptions, found: list[_Found | None], own: list[_Found | None], widths: Widths) -> Size:
    pairs = [(one, base) for one, base in zip(found, own, strict=False) if one and base]
    expected: dict[Part, float | None] = {}
    for part, width in widths.items():
        ratios = [getattr(one, part) / getattr(base, part) for one, base in pairs] if width else []
        expected[part] = width.expected * float(np.median(ratios)) if width and ratios else None
    return Size(
        people=assumed.people,
        prompts=assumed.prompts,
        prompts_per_day=assumed.prompts_per_day,
        within=expected["within"],
        between=expected["between"],
        simulations=len(found),
        untrusted=len(found) - len(_trusted(found)),
    )


def _notes(model: ForecastModel, assumed: Assumptions) -> Iterable[str]:
    gone = [term for term in model.time if TIME[term] not in _varying(assumed)]
    if gone:
        yield f"These days and prompts do not differ in {', '.join(gone)}, so the forecast's model is without."
    if assumed.icc_predictor == 0.0 and "between" in model.parts:
        yield "People do not differ in the predictor, as assumed, so there is no between part to be precise about."


def _part_sentence(part: str, width: HalfWidth | None, per: str) -> str:
    if width is None:
        return f"{part}: no width can be told."
    return (
        f"{part}: the 95 % interval is expected to reach {_figure(width.expected)} to either side, in 8 of 10 studies "
        f"{_figure(width.low)} to {_figure(width.high)}, in within-person SDs of the outcome per {per}."
    )


def _figure(value: float | None) -> str:
    return number(value, 2 if value is None or value >= 0.1 else 3)


def _percent(share: float) -> str:
    return f"{number(100.0 * share, 0)} %"


def _whole(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= int(value) <= high:
        raise InvalidForecast(f"{name}: {value!r} is not accepted; a whole number from {low:,} to {high:,} is.")


def _number(name: str, value: Any, holds: Callable[[float], bool], accepted: str) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not holds(float(value)):
        raise InvalidForecast(f"{name}: {value!r} is not accepted; {accepted} is.")
