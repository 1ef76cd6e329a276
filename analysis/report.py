"""One study-night: the frame and the plan → everything the report shows. The recipe; pure, no I/O.

Counting is in `flow`, numbers of a fit in `estimates`, sentences in `words`, pictures in `plots`. A model that cannot be
fitted is a result with a cause and never stops the others. While a plan says "conduct", no estimate is made or kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

import analysis
from analysis import estimates, flow, picture, plots, words
from analysis.errors import AnalysisError, DesignError
from analysis.estimates import Rows
from analysis.words import Subject, counted, number, share

SCHEMA = "ema-report/1"
FEW_PERSONS = 20
"""Below so many people: interval, no p (METHODS §6)."""
FLOOR = 0.30
"""Share of answers at one end of the scale above which the normal model is doubtful."""
RELIABLE = 0.8
"""λ of the persons' means below which the corrected between part stands beside the observed one."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What a night found: `results` (JSON-able, schema ema-report/1) and `figures` (name → SVG text)."""

    results: dict[str, Any]
    figures: dict[str, str]


def build(
    frame: pd.DataFrame,
    plan: Mapping[str, Any],
    *,
    study: Mapping[str, Any],
    uploads: Mapping[str, Any] | None = None,
    truth: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Report:
    """The report of one night from one row per prompt.

    `study` has slug, title, simulated, started_on, ended_on, zone and source; `uploads` counts of what phones sent;
    `truth` the values a simulated study was made from, by term. `progress` is told in words what is being done.
    """
    tell = progress or (lambda text: None)
    tell("counting prompts and answers")
    prompts = flow.scheduled_prompts(frame, plan)
    used = prompts[prompts["used"].astype(bool)]
    sealed = plan.get("mode", "conduct") != "final"
    models = []
    for place, model in enumerate(plan["models"], start=1):
        tell(f"fitting model {place} of {len(plan['models'])}: {model['title']}")
        models.append(_model(used, model, plan, study, truth, sealed=sealed))
    compliance, latency = flow.compliance(prompts), flow.latency(prompts)
    tell("drawing the pictures")
    figures = plots.all_figures(compliance, latency, models)
    results = {
        "schema": SCHEMA,
        "mode": plan.get("mode", "conduct"),
        "study": dict(study),
        "n_rows_read": len(frame),
        "notes": list(plan.get("notes", [])),
        "flow": flow.flow(prompts, models),
        "oddities": flow.oddities(frame, plan, uploads),
        "compliance": compliance | {"days_per_row": plots.days_per_row(len(compliance["per_day"]))},
        "latency": latency,
        "uploads": dict(uploads) if uploads else None,
        "models": [{name: value for name, value in result.items() if name not in DRAWING} for result in models],
        "methods": words.methods_paragraph(models, plan) if not sealed else "",
    }
    return Report(results=plain(results), figures=figures)


DF_METHODS = {
    "satterthwaite": "Satterthwaite",
    "kenward-roger": "Kenward–Roger",
    "z": "normal",
    "persons minus between terms": "people less between-terms",
}
"""The engine's names of its ways to degrees of freedom → the report's."""

DRAWING = ("picture", "estimate_rows")
"""Parts of a model's result that only the drawings need."""


def plain(value: Any) -> Any:
    """The same value in JSON's types; what is not a finite number becomes null."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"a report cannot hold {type(value).__name__}: {value!r}")


def _model(
    used: pd.DataFrame,
    model: Mapping[str, Any],
    plan: Mapping[str, Any],
    study: Mapping[str, Any],
    truth: Mapping[str, Any] | None,
    *,
    sealed: bool,
) -> dict[str, Any]:
    """One model's results, or why it has none."""
    binary = model.get("family", "gaussian") == "binomial"
    base = {
        "key": model["key"],
        "title": model["title"],
        "role": model.get("role", "primary"),
        "formula": model["formula"],
        "family": "binomial" if binary else "gaussian",
        "link": "logit" if binary else "identity",
        "estimator": "Laplace" if binary else "REML" if model.get("reml", True) else "ML",
        "outcome": dict(model["outcome"]),
        "predictor": dict(model["predictor"]),
    }
    try:
        rows = estimates.model_rows(used, model)
        fit = _fit(used, model, binary=binary)
        if sealed:
            return base | _sealed(fit, rows, model, plan, study)
        return base | _fitted(fit, rows, model, plan, truth)
    except (AnalysisError, np.linalg.LinAlgError) as error:
        cause = str(error)
        return base | {"status": "failed", "cause": cause, "finding": words.failure_sentence(model["title"], cause)}
    except Exception as error:  # unforeseen, such as a separated outcome: one model must never cost the night
        cause = "an unforeseen fault stopped it" if sealed else f"an unforeseen fault stopped it ({error})"
        return base | {"status": "failed", "cause": cause, "finding": words.failure_sentence(model["title"], cause)}


def _fit(used: pd.DataFrame, model: Mapping[str, Any], *, binary: bool) -> Any:
    if binary:
        return analysis.glmm(model["formula"], used, family="binomial", agq=int(model.get("agq", 1)))
    return analysis.lmm(model["formula"], used, reml=bool(model.get("reml", True)))


def _size(fit: Any, rows: Rows) -> dict[str, Any]:
    """How much went in, and whether the fit is to be trusted."""
    sizes = rows.sizes
    return {
        "status": "fitted",
        "n_persons": len(rows.persons),
        "n_rows": len(rows.x),
        "rows_dropped": rows.dropped,
        "rows_per_person": {"min": int(sizes.min()), "median": float(np.median(sizes)), "max": int(sizes.max())},
        "converged": bool(fit.converged),
        "singular": bool(fit.singular),
        "fit_sound": bool(fit.converged) and bool(np.isfinite(fit.fixed["se"]).all()),
        "messages": [str(message) for message in fit.messages],
    }


def _sealed(
    fit: Any, rows: Rows, model: Mapping[str, Any], plan: Mapping[str, Any], study: Mapping[str, Any]
) -> dict[str, Any]:
    """What a study that still collects may see of a model: whether it is sound and how precise it will be."""
    tests = fit.tests(df=_asked_df(model))
    widths = {}
    left = _share_of_study(rows, study)
    for part in ("within", "between"):
        row = tests.loc[f"{part}({model['predictor']['name']})"]
        # Rows still to come narrow the within part; people are all there, so the between part is taken as it stands.
        widths[part] = float(row["upper"] - row["lower"]) * (math.sqrt(left) if part == "within" else 1.0)
    size = _size(fit, rows)
    size["messages"] = []
    return size | {
        "icc": _icc(fit),
        "expected_width": widths,
        "warnings": _warnings(fit, rows, model, plan, sealed=True),
    }


def _share_of_study(rows: Rows, study: Mapping[str, Any]) -> float:
    """Share of the study's days that lie behind: the day column where the model has one, else all of it."""
    if "day" not in rows.X.columns:
        return 1.0
    planned = (date.fromisoformat(study["ended_on"]) - date.fromisoformat(study["started_on"])).days + 1
    return float(min(1.0, rows.X["day"].max() / planned)) if planned > 0 else 1.0


def _fitted(
    fit: Any, rows: Rows, model: Mapping[str, Any], plan: Mapping[str, Any], truth: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Everything that a final report says of one fitted model."""
    about = words.subject(model, occasion=plan.get("occasion", "moment"))
    name = model["predictor"]["name"]
    terms = (f"within({name})", f"between({name})")
    method = _asked_df(model)
    df_method = DF_METHODS[method or fit.df_method]
    with_p = len(rows.persons) >= FEW_PERSONS
    tests = fit.tests(df=method)
    if tests.loc[list(terms), "se"].isna().any():
        raise DesignError(f"{len(rows.persons)} people are too few to tell how much people differ.")
    beta = tests["estimate"].rename(index=str)
    V = fit.vcov
    G = estimates.random_covariance(fit, "person", terms[0])
    fixed = estimates.fixed_rows(tests, df_method, with_p=with_p)
    part = {each["term"]: each for each in fixed}
    within, between = dict(part[terms[0]]), dict(part[terms[1]])
    difference = fit.contrast({terms[1]: 1.0, terms[0]: -1.0}, df=method)
    contextual = estimates.row_of("contextual", _only_row(difference), df_method, with_p=with_p)
    people = estimates.persons(rows, fit, beta, terms, G)
    points = estimates.margins(rows, beta.to_numpy(), V.to_numpy(), G, terms, within["df"]) if about.binary else None
    _say(about, rows, within, between, contextual, points)
    spread = _spread(fit, about, within, G) if terms[0] in rows.varying else None
    null = _null_variance(rows) if not about.binary else None
    reliability = _reliability(rows)
    size = _size(fit, rows)
    result = size | {
        "fixed": fixed,
        "within": within,
        "between": between,
        "contextual": contextual,
        "step": rows.step,
        "step_between": rows.spread_between,
        "anchor": rows.anchor,
        "percentage_points": {key: vars(value) for key, value in points.items()} if points else None,
        "variance": _variance_rows(fit),
        "correlations": _correlation_rows(fit),
        "residual_sd": fit.residual_sd,
        "log_likelihood": fit.log_likelihood,
        "icc": null if null is not None else _icc(fit),
        "lambda": reliability,
        "between_corrected": _corrected(within, between, reliability)
        if not about.binary and not about.ambient
        else None,
        "spread": spread,
        "shares": _shares(null if null is not None else _icc(fit), about),
        "finding": _finding(about, within, between, points)
        if size["fit_sound"]
        else words.unsound_sentence(model["title"]),
        "persons": people,
        "too_few": sum(one["weight"] is not None and one["weight"] < picture.ENOUGH for one in people),
        "gee": estimates.marginal_check(rows, terms) if about.binary else None,
        "truth": _truth(fixed, fit, truth) if truth else None,
    }
    result["warnings"] = _warnings(fit, rows, model, plan, sealed=False, result=result)
    result["estimate_rows"] = picture.estimate_rows(about, result, points, G)
    result["caption"] = picture.caption(about, result)
    result["picture"] = picture.signature(about, rows, model, result, beta, V, G, terms)
    result["key"] = model["key"]
    return result


def _asked_df(model: Mapping[str, Any]) -> str | None:
    """The plan's choice of degrees of freedom; None leaves it to the engine's rule (METHODS §6)."""
    return None if model.get("family") == "binomial" else model.get("df")


def _only_row(row: Any) -> Any:
    """A contrast as one row, whether the engine hands back a row or a table of one."""
    return row.iloc[0] if isinstance(row, pd.DataFrame) else row


def _say(
    about: Subject,
    rows: Rows,
    within: dict[str, Any],
    between: dict[str, Any],
    contextual: dict[str, Any],
    points: Mapping[str, estimates.Margins] | None,
) -> None:
    """Put persons and the sentence into the three rows."""
    n = len(rows.persons)
    steps = {"within": rows.step, "between": rows.spread_between}
    per_step: dict[str, tuple[float, float, float]] = {}
    for name, row in (("within", within), ("between", between)):
        step = steps[name]
        shown = points[name] if points else None
        per_step[name] = (
            (shown.estimate, shown.lower, shown.upper)
            if shown
            else (row["estimate"] * step, row["lower"] * step, row["upper"] * step)
        )
    within |= {"persons": n, "sentence": words.within_sentence(about, *per_step["within"], rows.step)}
    between |= {
        "persons": n,
        "sentence": words.between_sentence(about, *per_step["between"], rows.spread_between, persons=n),
    }
    contextual |= {
        "persons": n,
        "sentence": words.contextual_sentence(
            about, within["estimate"], between["estimate"], contextual["lower"], contextual["upper"]
        ),
    }


def _finding(
    about: Subject,
    within: Mapping[str, Any],
    between: Mapping[str, Any],
    points: Mapping[str, estimates.Margins] | None,
) -> str:
    shown = [
        (points[name].estimate, points[name].lower, points[name].upper)
        if points
        else (row["estimate"], row["lower"], row["upper"])
        for name, row in (("within", within), ("between", between))
    ]
    return words.finding(about, shown[0], shown[1])


def _spread(fit: Any, about: Subject, within: Mapping[str, Any], G: np.ndarray) -> dict[str, Any]:
    """The SD of the persons' slopes; its interval where the engine can give one."""
    sd = float(np.sqrt(max(G[1, 1], 0.0)))
    unit = "log-odds" if about.binary else about.outcome_unit
    per = f"{unit} per {words.one(about.predictor_unit)} of {about.predictor}"
    return {"sd": sd, "sentence": words.spread_sentence(within["estimate"], sd, None, per)}


def _icc(fit: Any) -> float | None:
    """Share of the variance between persons, given the fixed effects; on the log-odds scale for a binary outcome."""
    value = float(fit.icc()["person"])
    return value if math.isfinite(value) else None


def _null_variance(rows: Rows) -> float | None:
    """The outcome's ICC from the model without predictors (METHODS §2.6)."""
    between, within = _two_parts(rows, rows.y)
    return between / (between + within) if between + within > 0 else None


def _reliability(rows: Rows) -> float | None:
    between, within = _two_parts(rows, rows.x)
    value = estimates.reliability_of_means(rows, between, within)
    return value if math.isfinite(value) else None


def _two_parts(rows: Rows, values: np.ndarray) -> tuple[float, float]:
    """Variance between persons and within them, from the null model by REML."""
    frame = pd.DataFrame({"value": values, "person": np.repeat(np.array(rows.persons, dtype=object), rows.sizes)})
    null = analysis.lmm("value ~ 1 + (1 | person)", frame)
    return float(null.random["person"].to_numpy()[0, 0]), float(null.residual_sd) ** 2


def _corrected(within: Mapping[str, Any], between: Mapping[str, Any], reliability: float | None) -> float | None:
    """γ_w + (γ_b − γ_w)/λ: the between part as if the persons' means were known exactly (Lüdtke et al., 2008)."""
    if not reliability:
        return None
    return float(within["estimate"] + (between["estimate"] - within["estimate"]) / reliability)


def _shares(icc: float | None, about: Subject) -> list[dict[str, Any]]:
    """The parts of the variance bar. Moment and day are one part until the engine separates them."""
    if icc is None:
        return []
    rest = "days" if about.occasion == "day" else "moments and days"
    error = "on the log-odds scale" if about.binary else "with measurement error"
    return [
        {"part": "person", "label": "people", "share": icc},
        {"part": "moment", "label": f"{rest}, {error}", "share": 1.0 - icc},
    ]


def _variance_rows(fit: Any) -> list[dict[str, Any]]:
    found = [
        {
            "group": group,
            "term": str(term),
            "variance": float(block.loc[term, term]),
            "sd": float(block.loc[term, term]) ** 0.5,
        }
        for group, block in fit.random.items()
        for term in block.index
    ]
    if fit.residual_sd is not None:
        found.append(
            {"group": "residual", "term": "", "variance": float(fit.residual_sd) ** 2, "sd": float(fit.residual_sd)}
        )
    return found


def _correlation_rows(fit: Any) -> list[dict[str, Any]]:
    found = []
    for group, block in fit.random.items():
        sd = np.sqrt(np.diag(block.to_numpy()))
        for a in range(len(sd)):
            for b in range(a):
                value = float(block.iloc[a, b] / (sd[a] * sd[b])) if sd[a] > 0 and sd[b] > 0 else None
                found.append(
                    {"group": group, "terms": [str(block.index[b]), str(block.index[a])], "correlation": value}
                )
    return found


def _truth(fixed: list[dict[str, Any]], fit: Any, truth: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Truth beside estimate, in the order of the fixed effects; then the standard deviations, which have no interval yet."""
    rows = [
        {
            "term": row["term"],
            "truth": float(truth[row["term"]]),
            "estimate": row["estimate"],
            "lower": row["lower"],
            "upper": row["upper"],
            "inside": bool(row["lower"] <= truth[row["term"]] <= row["upper"]),
        }
        for row in fixed
        if row["term"] in truth
    ]
    found = {f"sd_{row['term']}|{row['group']}": row["sd"] for row in _variance_rows(fit) if row["term"]}
    found |= {f"cor_{'.'.join(row['terms'])}|{row['group']}": row["correlation"] for row in _correlation_rows(fit)}
    found["sigma"] = fit.residual_sd
    rows += [
        {"term": name, "truth": float(truth[name]), "estimate": value, "lower": None, "upper": None, "inside": None}
        for name, value in found.items()
        if name in truth
    ]
    return rows


def _warnings(
    fit: Any,
    rows: Rows,
    model: Mapping[str, Any],
    plan: Mapping[str, Any],
    *,
    sealed: bool,
    result: Mapping[str, Any] | None = None,
) -> list[str]:
    """What to keep in mind, as sentences; what makes the fit doubtful comes first."""
    about = words.subject(model, occasion=plan.get("occasion", "moment"))
    persons, slope = len(rows.persons), f"within({model['predictor']['name']})"
    found = []
    if not fit.converged:
        found.append("The fit did not settle on a best answer: do not use these estimates.")
    if fit.singular:
        found.append(
            "One of the spreads between people was estimated at its limit (a singular fit): these data do not tell it from none."
        )
    if persons < FEW_PERSONS:
        found.append(f"Only {counted(persons, 'person', 'people')}: intervals are shown, p values are not.")
    elif about.binary and persons < 30:
        found.append(f"With {persons} people, the intervals of a logistic model are rough.")
    if not about.binary:
        low, high = estimates.share_at_ends(rows.y, about.outcome_range)
        for at_end, end in ((low, "lowest"), (high, "highest")):
            if at_end > FLOOR:
                found.append(
                    f"{share(at_end, 1)} of the answers are at the {end} value: the normal model is doubtful, "
                    "an ordinal model would be the check."
                )
    if about.ambient:
        found.append(
            f"People share the {about.predictor}: what differs between them is when they took part. "
            "The between part is about periods, not about kinds of people."
        )
        if not any(season in rows.X.columns for season in ("sin_year", "cos_year")):
            found.append("This model has no season terms, so season and the between part are not told apart.")
    if slope not in rows.varying:
        found.append(
            "The model gives everyone the same slope; if people differ in it, the interval within is too narrow."
        )
    if about.occasion == "moment" and int(plan.get("prompts_per_day", 1)) >= 3:
        found.append("Moment and day are not separated yet: the three-way split comes with a later version.")
    found.append(
        "Neighbouring answers of a person resemble each other; serial correlation is not modelled yet, so λ is on the high side."
    )
    constant = int((rows.means(rows.within**2) < 1e-18).sum())
    if constant:
        found.append(
            f"{counted(constant, 'person', 'people')} never varied in {about.predictor}: they count for the between part only."
        )
    if (
        result
        and result["lambda"] is not None
        and result["lambda"] < RELIABLE
        and result["between_corrected"] is not None
    ):
        found.append(
            f"The persons' means are not exact (λ = {number(result['lambda'])}): corrected for that, "
            f"the between part would be {number(result['between_corrected'], 2)}."
        )
    if not sealed and not about.ambient:
        found.append(f"Nothing here can rule out that people skip prompts when {about.outcome} is high or low.")
    return found
