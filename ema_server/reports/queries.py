"""Reads of reports and of the night's work."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import QuerySet
from django_scopes import scope

from ema_server.accounts.models import User
from ema_server.reports.models import AnalysisPlan, Report
from ema_server.studies.models import Study
from ema_server.studies.queries import studies_of as studies_of


def latest_report(study: Study) -> Report | None:
    """The newest run of the newest night."""
    return study.reports.order_by("-night", "-id").first()


def report_of(study: Study, run_id: int) -> Report | None:
    return study.reports.filter(pk=run_id).first()


def current_plan(study: Study) -> AnalysisPlan | None:
    return study.analysis_plans.order_by("-number").first()


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
    return Study.objects.filter(state=Study.State.LIVE, analysis_plans__isnull=False).distinct()


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
