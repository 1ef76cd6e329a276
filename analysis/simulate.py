"""Data with a known truth: the study "support and stress", for tests, the demo and power.

Everything is drawn from a generator that the caller passes in; the same seed gives the same data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class SupportStress:
    """What is true in the simulated study; both answers are on a 0 to 100 scale, effects in points.

    stress = intercept + u0 + between·(m − support_mean) + (within + u1)·(support − m)
             + day·d + weekend·w + sin24·sin(h) + cos24·cos(h) + e

    with m the person's own usual support, h the hour as an angle, (u0, u1) normal with SDs
    `sd_intercept`, `sd_slope` and correlation `correlation`, and e normal with `sd_residual`.
    The defaults keep both answers clear of the ends of the scale, so that clipping distorts little.
    """

    intercept: float = 40.0
    within: float = -0.25
    between: float = -0.45
    day: float = -0.2
    weekend: float = -3.0
    sin24: float = -1.5
    cos24: float = 2.0
    sd_intercept: float = 8.0
    sd_slope: float = 0.12
    correlation: float = -0.3
    sd_residual: float = 9.0

    support_mean: float = 55.0
    support_sd_between: float = 11.0
    support_sd_within: float = 13.0
    support_sin24: float = -2.0
    support_cos24: float = -3.0

    answer_logit: float = 1.5
    """Log-odds that a prompt is answered at the stress of `intercept`."""
    answer_per_stress_point: float = -0.015
    """Change of those log-odds per point of stress: people skip a little more when they feel worse."""
    answer_sd_person: float = 0.5
    window_minutes: float = 60.0
    """A prompt expires so long after it was sent."""
    late_share: float = 0.03
    """Share of the answers that come after the window."""

    def fixed_effects(self) -> dict[str, float]:
        """True fixed effects by the model's term names; the intercept at day 0, a weekday, sin24 = cos24 = 0."""
        return {
            "Intercept": self.intercept,
            "within(support)": self.within,
            "between(support)": self.between,
            "day": self.day,
            "weekend": self.weekend,
            "sin24": self.sin24,
            "cos24": self.cos24,
        }

    def standard_deviations(self) -> dict[str, float]:
        """True SDs and the correlation, by the names that `fit.confint` uses with the grouping factor `person`."""
        return {
            "sd_Intercept|person": self.sd_intercept,
            "sd_within(support)|person": self.sd_slope,
            "cor_Intercept.within(support)|person": self.correlation,
            "sigma": self.sd_residual,
        }


def rhythm(hour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of local hours (0 to 24) on the 24-hour circle."""
    angle = 2.0 * np.pi * np.asarray(hour, dtype=float) / 24.0
    return np.sin(angle), np.cos(angle)


def draw_people(truth: SupportStress, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw n people: index 0..n−1; columns `usual_support`, `intercept`, `slope`, `answer_logit`.

    `intercept` is the person's own stress at their usual support (day 0, weekday); `slope` their own within slope.
    """
    own = rng.standard_normal((n, 2))
    deviation = truth.correlation * own[:, 0] + np.sqrt(1.0 - truth.correlation**2) * own[:, 1]
    usual = truth.support_mean + truth.support_sd_between * rng.standard_normal(n)
    intercept = truth.intercept + truth.between * (usual - truth.support_mean) + truth.sd_intercept * own[:, 0]
    return pd.DataFrame(
        {
            "usual_support": usual,
            "intercept": intercept,
            "slope": truth.within + truth.sd_slope * deviation,
            "answer_logit": truth.answer_logit + truth.answer_sd_person * rng.standard_normal(n),
        }
    )


def answer_prompts(
    truth: SupportStress, person: Mapping[Any, Any] | pd.Series, schedule: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """What one person would say at each prompt, and whether and how fast they answer.

    `schedule` has one row per prompt with `day` (1..), `slot`, `hour` (local, 0 to 24) and `weekend` (0/1).
    Returns, on the schedule's index: `support`, `stress` (whole points, 0 to 100, also where unanswered),
    `answered` (bool) and `latency_minutes` (from prompt to answer; above `window_minutes` is late; NaN if unanswered).
    """
    n = len(schedule)
    sine, cosine = rhythm(schedule["hour"].to_numpy())
    daily = truth.support_sin24 * sine + truth.support_cos24 * cosine
    deviation = daily + truth.support_sd_within * rng.standard_normal(n)
    if n:
        deviation -= daily.mean()  # the daily rhythm does not move the person's own mean
    support = _points(person["usual_support"] + deviation)
    stress = (
        person["intercept"]
        + person["slope"] * (support - person["usual_support"])
        + truth.day * schedule["day"].to_numpy(dtype=float)
        + truth.weekend * schedule["weekend"].to_numpy(dtype=float)
        + truth.sin24 * sine
        + truth.cos24 * cosine
        + truth.sd_residual * rng.standard_normal(n)
    )
    log_odds = person["answer_logit"] + truth.answer_per_stress_point * (stress - truth.intercept)
    answered = rng.random(n) < 1.0 / (1.0 + np.exp(-log_odds))
    prompt_answer = np.minimum(rng.lognormal(np.log(4.0), 1.0, n), 0.98 * truth.window_minutes)
    late_answer = truth.window_minutes * (1.0 + rng.random(n))
    latency = np.where(rng.random(n) < truth.late_share, late_answer, prompt_answer)
    return pd.DataFrame(
        {
            "support": support,
            "stress": _points(stress),
            "answered": answered,
            "latency_minutes": np.where(answered, latency, np.nan),
        },
        index=schedule.index,
    )


def simulate_frame(
    truth: SupportStress,
    persons: int = 60,
    days: int = 14,
    prompts: int = 6,
    seed: int = 1,
    *,
    start: date = date(2026, 4, 13),
    zone: str = "Europe/Zurich",
    late_cutoff_minutes: float = 30.0,
) -> pd.DataFrame:
    """A whole study as the analysis reads it: one row per planned prompt, sorted by person and time.

    Columns: person, questionnaire, day, slot, scheduled_at, scheduled_local, zone, utc_offset_minutes, expires_at,
    answered_at, received_at, latency_minutes, status, used, held_items, reissues, repeats, practice, test_person,
    weekend, hour, sin24, cos24, sin_year, cos_year, support, stress. Items are NaN unless `used`. One prompt a window
    of equal length between 9 and 21 o'clock; `zone` should not change its clock during the study.
    """
    rng = np.random.default_rng(seed)
    people = draw_people(truth, persons, rng)
    parts = []
    for number, (_, person) in enumerate(people.iterrows(), start=1):
        schedule = _draw_schedule(days, prompts, start, rng)
        answers = answer_prompts(truth, person, schedule, rng)
        parts.append(pd.concat([schedule, answers], axis=1).assign(person=f"P{number:03d}"))
    frame = pd.concat(parts, ignore_index=True)

    local = pd.Timestamp(start) + pd.to_timedelta((frame["day"] - 1) * 24 * 3600 + frame["hour"] * 3600, unit="s")
    local = local.dt.floor("s")
    scheduled = local.dt.tz_localize(zone).dt.tz_convert("UTC")
    latency = frame["latency_minutes"]
    frame["status"] = _status(latency, truth.window_minutes, late_cutoff_minutes)
    frame.loc[~frame["answered"] & (rng.random(len(frame)) < 0.04), "status"] = "no_record"
    used = frame["status"].isin(["answered", "late"])
    sine, cosine = rhythm(frame["hour"].to_numpy())
    year = 2.0 * np.pi * local.dt.day_of_year.to_numpy(dtype=float) / 365.25
    answered_at = scheduled + pd.to_timedelta(latency, unit="min").dt.floor("s")
    return pd.DataFrame(
        {
            "person": frame["person"],
            "questionnaire": "momentary",
            "day": frame["day"],
            "slot": frame["slot"],
            "scheduled_at": scheduled,
            "scheduled_local": local,
            "zone": zone,
            "utc_offset_minutes": ((local - scheduled.dt.tz_localize(None)) / pd.Timedelta(minutes=1)).astype(int),
            "expires_at": scheduled + pd.Timedelta(minutes=truth.window_minutes),
            "answered_at": answered_at,
            "received_at": answered_at + pd.to_timedelta(np.floor(rng.exponential(600.0, len(frame))), unit="s"),
            "latency_minutes": latency,
            "status": frame["status"],
            "used": used,
            "held_items": np.where(frame["status"] == "too_late", 2, 0),
            "reissues": 0,
            "repeats": 0,
            "practice": False,
            "test_person": False,
            "weekend": frame["weekend"],
            "hour": frame["hour"],
            "sin24": sine,
            "cos24": cosine,
            "sin_year": np.sin(year),
            "cos_year": np.cos(year),
            "support": frame["support"].where(used),
            "stress": frame["stress"].where(used),
        }
    )


@dataclass(frozen=True, slots=True)
class Standardised:
    """A study without units: one within-person SD of outcome and predictor is 1, and nothing is associated on average.

    x = between-person part + within-person part (variance 1);  y = u + s·(within part of x) + e, with s of mean 0

    icc_outcome, icc_predictor : share of the variance that lies between people, from 0 to below 1
    slope_sd : SD of the people's own slopes s, from 0 to below 1; e has the variance that makes y's within part 1
    serial : correlation, three hours apart, of x's within part and of e; it falls with the hours between as serial^(h/3)
    compliance, compliance_icc : chance that a prompt is answered, beta distributed over people with variance
        compliance_icc·compliance·(1 − compliance); whatever the answer would have been
    """

    icc_outcome: float
    icc_predictor: float
    slope_sd: float
    serial: float
    compliance: float
    compliance_icc: float

    @property
    def between_sd(self) -> float:
        """The predictor's SD between people."""
        return float(np.sqrt(self.icc_predictor / (1.0 - self.icc_predictor)))


SERIAL_HOURS = 3.0


def simulate_standardised(
    truth: Standardised, persons: int, day: np.ndarray, slot: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """The answered prompts of such a study, sorted by person and time.

    day, slot : (prompts,), from 1 and in order, the same for everybody; the hour is drawn for each person and prompt, one
    in each of max(slot) equal windows from 9 to 21 o'clock; day 1 is a Monday.
    Columns: person (0..), day, slot, hour, weekend, sin24, cos24, predictor, outcome. From the same generator come the same
    people, whatever the prompts, and more of them begin with the fewer: two plans can be compared on the same people.
    """
    of_people, of_chances, rng = rng.spawn(3)
    usual, level, slope = of_people.standard_normal((persons, 3, 1)).swapaxes(0, 1)
    chance = _compliance(truth, persons, of_chances)
    shape = (persons, len(day))
    hour = 9.0 + (slot - 1 + rng.random(shape)) * (12.0 / slot.max())
    memory = truth.serial ** (np.diff(24.0 * day + hour, axis=1) / SERIAL_HOURS)
    x, e = _remembering(memory, rng), _remembering(memory, rng)
    level_sd = np.sqrt(truth.icc_outcome / (1.0 - truth.icc_outcome))
    outcome = level_sd * level + truth.slope_sd * slope * x + np.sqrt(1.0 - truth.slope_sd**2) * e
    answered = np.flatnonzero(rng.random(shape) < chance)
    person, prompt = np.divmod(answered, len(day))
    hour = hour.ravel()[answered]
    sine, cosine = rhythm(hour)
    return pd.DataFrame(
        {
            "person": person,
            "day": day[prompt],
            "slot": slot[prompt],
            "hour": hour,
            "weekend": ((day[prompt] - 1) % 7 >= 5).astype(int),
            "sin24": sine,
            "cos24": cosine,
            "predictor": (truth.between_sd * usual + x).ravel()[answered],
            "outcome": outcome.ravel()[answered],
        }
    )


def _remembering(memory: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(persons, prompts) of variance 1, each correlated with the one before by `memory` (persons, prompts − 1)."""
    values = rng.standard_normal((len(memory), memory.shape[1] + 1))
    if memory.any():
        for at in range(memory.shape[1]):
            kept = memory[:, at]
            values[:, at + 1] = kept * values[:, at] + np.sqrt(1.0 - kept**2) * values[:, at + 1]
    return values


def _compliance(truth: Standardised, persons: int, rng: np.random.Generator) -> np.ndarray:
    """(persons, 1): each person's own chance to answer."""
    mean, spread = truth.compliance, truth.compliance_icc
    if spread == 0.0 or mean in (0.0, 1.0):
        return np.full((persons, 1), mean)
    size = 1.0 / spread - 1.0
    return rng.beta(mean * size, (1.0 - mean) * size, (persons, 1))


def _points(values: np.ndarray | float) -> np.ndarray:
    """Whole points on the scale 0 to 100."""
    return np.clip(np.rint(values), 0.0, 100.0)


def _draw_schedule(days: int, prompts: int, start: date, rng: np.random.Generator) -> pd.DataFrame:
    """One uniformly random hour in each of `prompts` equal windows from 9 to 21 o'clock, for each day."""
    day = np.repeat(np.arange(1, days + 1), prompts)
    slot = np.tile(np.arange(1, prompts + 1), days)
    width = 12.0 / prompts
    hour = 9.0 + (slot - 1) * width + rng.random(days * prompts) * width
    weekday = (start.weekday() + day - 1) % 7
    return pd.DataFrame({"day": day, "slot": slot, "hour": hour, "weekend": (weekday >= 5).astype(int)})


def _status(latency: pd.Series, window: float, cutoff: float) -> np.ndarray:
    """The prompt's status from how long its answer took (minutes; NaN: never)."""
    minutes = latency.to_numpy()
    return np.select(
        [np.isnan(minutes), minutes <= window, minutes <= window + cutoff], ["expired", "answered", "late"], "too_late"
    )
