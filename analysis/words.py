"""The report's sentences (METHODS §6, UI §5): what a number says in plain words, and never more than it says.

Nothing here computes a statistic. Numbers come with U+2212 for minus; an interval that allows no difference says so;
words of cause and of testing are not used, since nothing in these studies is randomised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"
UNCERTAIN = "but the interval also allows no difference"
SAME_MOMENT = "Same moment: direction unknown."
SAME_DAY = "Same day: direction unknown."
RANDOMISED_ONLY = ("effect", "raises", "leads to", "significant", "trend", "because")
"""Words that these sentences avoid."""

Occasion = Literal["moment", "day"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a model is about, in the words of its plan.

    outcome, predictor : labels as they read inside a sentence
    outcome_unit, predictor_unit : plural units ("points"); the outcome's is not used where `binary`
    occasion : what one row is
    within_phrase : a clause for occasions above the person's usual; between_phrase : a verb phrase for people who differ
    ambient : what varies between people is when they took part
    smallest : the smallest difference worth noticing, named in the plan, in the outcome's unit (percentage points if binary)
    """

    outcome: str
    predictor: str
    outcome_unit: str = "points"
    predictor_unit: str = "points"
    occasion: Occasion = "moment"
    binary: bool = False
    within_phrase: str = ""
    between_phrase: str = ""
    ambient: bool = False
    smallest: float | None = None
    outcome_range: tuple[float, float] | None = None

    @property
    def outside(self) -> str:
        """The clause that names occasions above the person's own usual."""
        clause = self.within_phrase or f"a person reported more {self.predictor} than usual for them"
        return f"{'on days' if self.occasion == 'day' else 'at moments'} when {clause}"

    @property
    def others(self) -> str:
        """The people who are usually higher."""
        if self.between_phrase:
            return f"people who {self.between_phrase}"
        return f"people who on average report more {self.predictor}"

    @property
    def unit(self) -> str:
        return "percentage points" if self.binary else self.outcome_unit


def subject(model: Mapping[str, Any], *, occasion: Occasion) -> Subject:
    """The words of one model of a plan (DESIGN's plan document)."""
    outcome, predictor = model["outcome"], model["predictor"]
    limits = outcome.get("range")
    return Subject(
        outcome=outcome.get("label", outcome["name"]),
        predictor=predictor.get("label", predictor["name"]),
        outcome_unit=outcome.get("unit", "points"),
        predictor_unit=predictor.get("unit", "points"),
        occasion=occasion,
        binary=model.get("family", "gaussian") == "binomial",
        within_phrase=predictor.get("within_phrase", ""),
        between_phrase=predictor.get("between_phrase", ""),
        ambient=bool(predictor.get("ambient", False)),
        smallest=outcome.get("smallest"),
        outcome_range=(limits[0], limits[1]) if limits else None,
    )


def decimals_for(spread: float) -> int:
    """Decimals at which a number with this half-width keeps two digits that mean something; two wherever they suffice."""
    if not math.isfinite(spread) or spread <= 0:
        return 2
    wanted = 1 - math.floor(math.log10(spread))
    return 2 if 0.02 <= spread < 1 else max(0, min(wanted, 6))


def number(value: float | None, decimals: int = 2, *, sign: bool = False) -> str:
    """A number with U+2212 for minus and commas for thousands; never a negative zero; an en dash where there is none."""
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    text = f"{abs(value):,.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        return text
    return (MINUS if value < 0 else "+" if sign else "") + text


def share(part: float, whole: float) -> str:
    """ "89.0 %": a share of a named whole; an en dash of nothing."""
    return f"{100 * part / whole:.1f}{NO_BREAK}%" if whole else "\N{EN DASH}"


def interval(lower: float, upper: float, decimals: int) -> str:
    return f"{number(lower, decimals)} to {number(upper, decimals)}"


def p_value(p: float | None) -> str:
    if p is None or not math.isfinite(p):
        return "\N{EN DASH}"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def counted(n: int, one: str, many: str | None = None) -> str:
    """ "1 person", "1,204 answers"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


PEOPLE = ("person", "subject", "participant", "patient", "respondent", "student", "id", "pid")
"""Names of grouping factors whose levels are called people."""


def level_words(factor: str) -> str:
    """What the levels of a grouping factor are called: people where its name says so."""
    name = factor.lower()
    return "people" if name in PEOPLE or name.removesuffix("_id") in PEOPLE else f"levels of {factor}"


def counted_levels(n: int, factor: str) -> str:
    """ "60 people", "12 levels of herd"."""
    return f"{n:,} {level_words(factor)}"


def joined(parts: list[str]) -> str:
    """ "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def one(unit: str) -> str:
    """The singular of a unit."""
    return unit[:-1] if unit.endswith("s") and not unit.endswith("ss") else unit


def excludes_zero(lower: float, upper: float) -> bool:
    return lower > 0 or upper < 0


def within_sentence(about: Subject, estimate: float, lower: float, upper: float, step: float) -> str:
    """The within part per typical within-person step. `estimate` and its interval are already per `step`."""
    size = f"per typical within-person step ({number(step, decimals_for(step))} {about.predictor_unit})"
    same = SAME_DAY if about.occasion == "day" else SAME_MOMENT
    return _capital(f"{about.outside}, {about.outcome} was {_difference(about, estimate, lower, upper, size)} {same}")


def between_sentence(about: Subject, estimate: float, lower: float, upper: float, step: float, *, persons: int) -> str:
    """The between part per typical difference between people. `estimate` and its interval are already per `step`."""
    size = f"per typical difference between people ({number(step, decimals_for(step))} {about.predictor_unit})"
    said = _difference(about, estimate, lower, upper, size)
    people = _capital(counted(persons, "person", "people"))
    if about.ambient:
        said = f"among {about.others}, {about.outcome} was {said}"
        return _capital(f"{said} {people}; this compares when people took part, not what kind of people they are.")
    return _capital(f"{about.others}: {about.outcome} was {said} {people}; may reflect other differences between them.")


def contextual_sentence(about: Subject, within: float, between: float, lower: float, upper: float) -> str:
    """How the two patterns differ, per unit of the predictor; on the scale of the linear predictor where binary."""
    difference = between - within
    if not excludes_zero(lower, upper):
        return "How far the two patterns differ is too uncertain to say."
    decimals = decimals_for((upper - lower) / 2)
    unit = "log-odds" if about.binary else about.outcome_unit
    amount = f"{number(abs(difference), decimals)} {unit} per {one(about.predictor_unit)} of {about.predictor}"
    bounds = interval(*_absolute(lower, upper), decimals)
    if within * between > 0:
        turn = "steeper" if abs(between) > abs(within) else "flatter"
        return (
            f"Differences between people look {amount} {turn} than changes within a person (95{NO_BREAK}% CI {bounds})."
        )
    return f"Differences between people and changes within a person differ by {amount} (95{NO_BREAK}% CI {bounds})."


def finding(about: Subject, within: tuple[float, float, float], between: tuple[float, float, float]) -> str:
    """The headline: within first, then between; each (estimate, lower, upper) on any scale that keeps the sign."""
    return f"{_headline_within(about, *within)} {_headline_between(about, *between)}"


def spread_sentence(slope: float, sd: float, limits: tuple[float, float] | None, unit: str) -> str:
    """How far the slope differs between people; the share on one side only where the spread's lower limit is above 0."""
    decimals = decimals_for(sd)
    said = f"Estimated spread of the slope between people: SD {number(sd, decimals)} {unit}"
    if limits is None:
        return f"{said}."
    said = f"{said} (95{NO_BREAK}% CI {interval(*limits, decimals)})."
    if round(limits[0], decimals) <= 0 or sd <= 0:
        return said
    side = 0.5 * (1.0 + math.erf(abs(slope) / sd / math.sqrt(2.0)))
    where = "below" if slope < 0 else "above"
    return (
        f"{said} Under a normal distribution about {round(100 * side)}{NO_BREAK}% of people have a slope {where} zero."
    )


def failure_sentence(title: str, cause: str) -> str:
    """A model that could not be fitted. The cause ends as a sentence and says what to do where the engine knows it."""
    return f"{title} could not be fitted: {_stop(cause)} The other models are not affected."


def unsound_sentence(title: str) -> str:
    return f"{title}: the fit did not settle, so nothing is concluded from it."


def methods_paragraph(models: list[dict[str, Any]], plan: Mapping[str, Any]) -> str:
    """The models in words, ready for a paper; only those that were fitted."""
    fitted = [model for model in models if model["status"] == "fitted"]
    if not fitted:
        return ""
    kinds = {
        "gaussian": "linear mixed models ({estimator})",
        "binomial": "logistic mixed models (maximum likelihood by the Laplace approximation)",
    }
    likelihood = {"REML": "restricted maximum likelihood", "ML": "maximum likelihood"}
    used = dict.fromkeys(
        kinds[model["family"]].format(estimator=likelihood.get(model["estimator"], "")) for model in fitted
    )
    rows = "Daily entries" if plan.get("occasion") == "day" else "Momentary ratings"
    anchors = [
        f"{number(model['anchor'], 2)} for {model['predictor'].get('label', model['predictor']['name'])}"
        for model in fitted
    ]
    said = [
        f"{rows} were analysed with {joined(list(used))}, answers nested in people.",
        "Each predictor was split into the deviation from the person’s own mean, on exactly the rows of the model, and "
        f"that mean, centred at the average of the persons’ means ({joined(list(dict.fromkeys(anchors)))}).",
    ]
    said += [f"{model['title']}: {model['formula']}." for model in fitted]
    methods = dict.fromkeys(model["within"]["df_method"] for model in fitted)
    named = {"Satterthwaite": "Satterthwaite’s degrees of freedom", "people less between-terms": "a t distribution with "
             "as many degrees of freedom as people less between-person terms", "normal": "the normal distribution",
             "Kenward–Roger": "Kenward and Roger’s standard errors and degrees of freedom"}  # fmt: skip
    said.append(f"Intervals are 95 % Wald intervals with {joined([named[method] for method in methods])}.")
    if any(model["family"] == "binomial" for model in fitted):
        said.append(
            "Percentage points are averaged over people, the random effects integrated out; their intervals are by the "
            "delta method."
        )
    return " ".join(said)


def _difference(about: Subject, estimate: float, lower: float, upper: float, size: str) -> str:
    decimals = decimals_for((upper - lower) / 2)
    low, high = ("less likely", "more likely") if about.binary else ("lower", "higher")
    turn = low if estimate < 0 else high
    average = "" if about.binary else "on average "
    over = ", averaged over people" if about.binary else ""
    said = f"{average}{number(abs(estimate), decimals)} {about.unit} {turn}"
    if about.smallest is not None and max(abs(lower), abs(upper)) < about.smallest:
        scale = ""
        if about.outcome_range and not about.binary:
            scale = f" on a scale of {about.outcome_range[0]:g} to {about.outcome_range[1]:g}"
        worth = f"{about.smallest:g} {about.unit}"
        return f"{said} {size}{over}: too small to notice{scale}. The interval rules out more than {worth}."
    if excludes_zero(lower, upper):
        bounds = interval(*_absolute(lower, upper), decimals)
        return f"{said} (95{NO_BREAK}% CI {bounds}) {size}{over}."
    bounds = f"{_leaning(lower, decimals, low, high)} to {_leaning(upper, decimals, low, high)}"
    return f"{said} (95{NO_BREAK}% CI {bounds}) {size}{over}, {UNCERTAIN}."


def _headline_within(about: Subject, estimate: float, lower: float, upper: float) -> str:
    certain = excludes_zero(lower, upper)
    day = "on days" if about.occasion == "day" else "at moments"
    when = (
        f"{day} when {about.within_phrase}"
        if about.within_phrase
        else f"{day} with more {about.predictor} than usual for them"
    )
    amount = "less" if estimate < 0 else "more"
    tail = "." if certain else f", {UNCERTAIN}."
    if about.binary:
        said = "was" if certain else "may have been"
        return _capital(f"{when}, {about.outcome} {said} {amount} likely{tail}")
    said = "reported" if certain else "may have reported"
    return f"People {said} {amount} {about.outcome} {when}{tail}"


def _headline_between(about: Subject, estimate: float, lower: float, upper: float) -> str:
    amount = "less" if estimate < 0 else "more"
    who = about.others if about.between_phrase else f"people who usually have more {about.predictor}"
    if not excludes_zero(lower, upper):
        if about.ambient:
            return "Whether it also differs with the period in which people took part stays open."
        if about.binary:
            return f"Whether {who} are more or less likely to report {about.outcome} stays open."
        return f"Whether {who} report more or less {about.outcome} stays open."
    said = f"were {amount} likely to report {about.outcome}" if about.binary else f"report {amount} {about.outcome}"
    return _capital(f"{who} {said}{', which is a matter of when they took part' if about.ambient else ''}.")


def _leaning(bound: float, decimals: int, low: str, high: str) -> str:
    text = number(abs(bound), decimals)
    return text if float(text.replace(",", "")) == 0 else f"{text} {low if bound < 0 else high}"


def _absolute(lower: float, upper: float) -> tuple[float, float]:
    """The interval of the size of a difference whose sign the sentence names."""
    return (lower, upper) if lower >= 0 else (-upper, -lower)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _stop(text: str) -> str:
    text = _capital(text.strip())
    return text if text.endswith((".", "!", "?")) else f"{text}."
