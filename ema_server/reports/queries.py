"""Reads of reports and of the night's work."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import QuerySet
from django_scopes import scope

from ema_server.accounts.models import User
from ema_server.ledger.models import Job
from ema_server.reports.models import AnalysisPlan, PlanForecast, Report
from ema_server.studies import states
from ema_server.studies.models import Study
from ema_server.studies.queries import current_sampling_plan
from ema_server.studies.queries import studies_of as studies_of

NIGHT = "night"  # the kind of its jobs
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PROSE = {"title", "label", "axis", "unit", "role", "key", "note", "notes", "family", "df", "labels"}


def latest_report(study: Study) -> Report | None:
    """The newest run of the newest night."""
    return study.reports.order_by("-night", "-id").first()


def report_of(study: Study, run_id: int) -> Report | None:
    return study.reports.filter(pk=run_id).first()


def current_plan(study: Study) -> AnalysisPlan | None:
    return study.analysis_plans.order_by("-number").first()


def locked_columns(study: Study, questionnaire: str) -> dict[str, str]:
    """The names that locked plans for this questionnaire use, each with the plan that uses it.

    A plan's formulas are not parsed here: every word in them may be a column, and whoever asks knows which are.
    """
    found: dict[str, str] = {}
    for plan in study.analysis_plans.filter(locked_at__isnull=False).order_by("number"):
        if plan.document.get("questionnaire", questionnaire) == questionnaire:
            words = _words_in([plan.document.get("models"), plan.document.get("columns"), plan.document.get("rows")])
            found |= dict.fromkeys(words, f"analysis plan v{plan.number}")
    return found


def _words_in(value: Any) -> set[str]:
    if isinstance(value, str):
        return set(_WORD.findall(value))
    if isinstance(value, dict):
        # What a plan says to people (titles, labels) names no column.
        return {word for key, each in value.items() if key not in _PROSE for word in {key, *_words_in(each)}}
    return {word for each in value for word in _words_in(each)} if isinstance(value, list) else set()


def studies_with_reports(user: User) -> list[tuple[Study, Report | None]]:
    """A researcher's studies, each with its newest report if they may read it: what the home page shows."""
    found = []
    for study in studies_of(user):
        with scope(study=study):
            found.append((study, latest_report(study) if user.has_perm("studies.view_report", study) else None))
    return found


def night_end(study: Study, night: Any) -> datetime:
    """When the night of a local day ends: at `night_at` on the next morning, in the study's zone."""
    return datetime.combine(night + timedelta(days=1), study.night_at, ZoneInfo(study.zone))


def studies_at_night() -> QuerySet[Study]:
    """Studies that collect and have a plan: each gets one job a night."""
    collecting = [state for state in Study.State.values if states.allows(state, "nights")]
    return Study.objects.filter(state__in=collecting, analysis_plans__isnull=False).distinct()


def night_key(study: Study, night: date) -> str:
    return f"{study.slug}:{night.isoformat()}"


def nights_to_ask_for(study: Study, newest: date, *, at_most: int) -> list[date]:
    """The nights after the last one that was asked for, up to the newest; for a study's first time, the newest alone."""
    recent = [newest - timedelta(days=back) for back in range(at_most)]
    nights = [night for night in reversed(recent) if night >= study.starts_on]
    jobs = Job.objects.filter(kind=NIGHT)
    asked = set(jobs.filter(key__in=[night_key(study, night) for night in nights]).values_list("key", flat=True))
    places = [place for place, night in enumerate(nights) if night_key(study, night) in asked]
    if places:
        return nights[places[-1] + 1 :]
    return (
        nights if jobs.filter(payload__study=study.pk, payload__night__lt=newest.isoformat()).exists() else nights[-1:]
    )


def report_as_json(report: Report) -> dict[str, Any]:
    """The stored results with what is needed to make them again."""
    return {
        **report.results,
        "night": report.night.isoformat(),
        "cutoff": report.cutoff.isoformat(),
        "data_hash": report.data_hash,
        "plan_hash": report.plan_hash,
        "code_version": report.code_version,
    }


def newest_forecast(study: Study) -> PlanForecast | None:
    """What was last asked for about the plan in force."""
    plan = current_sampling_plan(study)
    return PlanForecast.objects.filter(study=study, sampling_plan=plan).order_by("-pk").first() if plan else None


def job_of_forecast(forecast: PlanForecast) -> Job | None:
    return Job.objects.filter(kind="plan_forecast", key=str(forecast.pk)).first()
