"""The model that a forecast fits: a plan's main model, as far as it is one predictor within and between people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from analysis.errors import SpecError
from analysis.report import DF_METHODS
from analysis.spec import RandomTerm, parse_formula
from ema_server.common.errors import DomainError

Part = Literal["within", "between"]
PARTS: tuple[Part, ...] = ("within", "between")
WITHIN, BETWEEN = "within(predictor)", "between(predictor)"
TIME = {"day": "day", "weekend": "weekend", "hour": "hour", "sin24": "hour", "cos24": "hour", "slot": "slot", "C(slot)": "slot"}  # fmt: skip
"""Terms of time that the simulated study has → what must vary in it."""


class InvalidForecast(DomainError):
    code = "invalid_forecast"
    status = 400


@dataclass(frozen=True, slots=True)
class ForecastModel:
    """A formula of `outcome` and `predictor` and terms of time; `notes` say in words what the plan has besides."""

    parts: tuple[Part, ...]
    time: tuple[str, ...] = ("day",)
    slopes: bool = True  # whether people may differ in their within slope
    correlated: bool = True
    days: bool = False  # (1 | person:day)
    reml: bool = True
    df: str | None = None
    notes: tuple[str, ...] = ()

    def formula(self, varying: Iterable[str]) -> str:
        """With those terms of time alone that vary in the study: `day`, `weekend`, `hour`, `slot`."""
        own = [f"{part}(predictor)" for part in self.parts]
        time = [term for term in self.time if TIME[term] in varying]
        slopes = f" + {WITHIN} {'|' if self.correlated else '||'} person" if self.slopes else " | person"
        days = ["(1 | person:day)"] if self.days and {"day", "slot"} <= set(varying) else []
        return "outcome ~ " + " + ".join([*own, *time, f"(1{slopes})", *days])


def forecast_model(plan: Mapping[str, Any] | None) -> ForecastModel:
    """Read a plan's first primary model; without a plan, the usual model. Raises InvalidForecast naming the place."""
    if plan is None:
        return ForecastModel(PARTS, notes=("There is no analysis plan yet, so the usual model was taken.",))
    at, model = _main(plan)
    notes = []
    if len(plan["models"]) > 1:
        notes.append(f"The plan has {len(plan['models'])} models; this is about {model.get('title') or at}.")
    gaussian = model.get("family", "gaussian") == "gaussian"
    if not gaussian:
        notes.append(
            f"The plan's outcome is {model['family']}; the forecast takes it as a number with a normal spread, which is rough."
        )
    df = model.get("df") if gaussian else None
    if df not in (None, "kenward-roger", "satterthwaite", "z"):
        raise InvalidForecast(
            f"{at}.df: {df!r} is not known; 'kenward-roger', 'satterthwaite', 'z' or none are accepted."
        )
    reml = bool(model.get("reml", True))
    if df == "kenward-roger" and not reml:
        raise InvalidForecast(f"{at}.df: 'kenward-roger' needs reml true; 'satterthwaite' and 'z' go with false.")
    return _read(at, model, reml, df, notes)


def method_words(df: str) -> str:
    return DF_METHODS[df]


def _main(plan: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    models = plan.get("models") if isinstance(plan, Mapping) else None
    if not isinstance(models, list) or not models or not all(isinstance(each, Mapping) for each in models):
        raise InvalidForecast("plan.models: a list of at least one model is needed, as in a published analysis plan.")
    number = next((n for n, each in enumerate(models) if each.get("role", "primary") == "primary"), 0)
    return f"plan.models[{number}]", models[number]


def _read(at: str, model: Mapping[str, Any], reml: bool, df: str | None, notes: list[str]) -> ForecastModel:
    named = model.get("predictor")
    name = named.get("name") if isinstance(named, Mapping) else None
    if not isinstance(name, str) or not name:
        raise InvalidForecast(f"{at}.predictor.name: {name!r} names no column of the formula.")
    try:
        spec = parse_formula(model.get("formula", ""))
    except SpecError as error:
        raise InvalidForecast(f"{at}.formula: {error}") from error
    fixed = [_own(term, name) for term in _sum(spec.fixed)]
    mentioned = [term for term in fixed if "predictor" in re.findall(r"[\w.]+", term)]
    if not mentioned:
        raise InvalidForecast(
            f"{at}.predictor.name: {name!r} is in no fixed term of {spec.formula!r}; a predictor of the formula is accepted."
        )
    parts = tuple(part for part in PARTS if any(_has(part, term) for term in mentioned))
    if any(term not in (WITHIN, BETWEEN) for term in mentioned):
        others = [term.replace("predictor", name) for term in mentioned if term not in (WITHIN, BETWEEN)]
        lost = " The pairs of prompts that a lag loses are not taken off." if "lag(" in "".join(others) else ""
        notes.append(f"Simplified: {_list(others)} counts as the plain split within and between people.{lost}")
    left = [term for term in fixed if term not in mentioned and term not in TIME and term not in ("1", "0", "-1")]
    if left:
        notes.append(f"Left out of the simulated studies: {_list(left)}.")
    sloped = [term for term in spec.random if term.group == ("person",) and "predictor" in _own(term.terms, name)]
    if not sloped and "within" in parts:
        notes.append("The plan gives everyone the same slope; as people differ in it, its interval is too narrow.")
    if other := [f"({term.terms} | {term.factor})" for term in spec.random if not _is_known(term, name)]:
        notes.append(f"Left out of what differs between people and days: {_list(other)}.")
    return ForecastModel(
        parts,
        time=tuple(term for term in TIME if term in fixed),
        slopes=bool(sloped) and "within" in parts,
        correlated=all(term.correlated and len(_sum(term.terms)) > ("0" in _sum(term.terms)) for term in sloped),
        days=any(term.group == ("person", "day") for term in spec.random),
        reml=reml,
        df=df,
        notes=tuple(notes),
    )


def _is_known(term: RandomTerm, name: str) -> bool:
    """Whether a bracket holds nothing but what the forecast's own model can have."""
    known = {"person": {"0", "1", "predictor", WITHIN}, "person:day": {"1"}}
    return {_own(each, name) for each in _sum(term.terms)} <= known.get(term.factor, set())


def _own(text: str, name: str) -> str:
    """The term without spaces and backquotes, with the predictor called so."""
    text, name = (re.sub(r"[\s`]", "", each) for each in (text, name))
    return re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w.])", "predictor", text)


def _has(part: Part, term: str) -> bool:
    """Whether a term holds this part of the predictor; the predictor as it is holds both."""
    split = set(re.findall(r"(within|between|within_day|between_days)\((?:lag\()?predictor", term))
    return not split or part in split or (part == "within" and split != {"between"})


def _sum(text: str) -> list[str]:
    """The terms of a sum; a plus inside brackets joins nothing."""
    terms, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "+" and depth == 0:
            terms.append("")
        else:
            terms[-1] += character
    return [term.strip() for term in terms if term.strip()]


def _list(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(names))
