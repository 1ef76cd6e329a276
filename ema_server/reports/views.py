"""Pages of reports: look the study up from who asks, call one query, render."""

from __future__ import annotations

from typing import Any

from django.http import Http404

from ema_server.accounts.queries import session_has_second_factor
from ema_server.reports import queries
from ema_server.studies.pages import ResearcherPage, StudyPage


class HomeView(ResearcherPage):
    """My studies, each with its newest finding."""

    template_name = "reports/home.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        factor = session_has_second_factor(self.request)
        studies = [
            (study, report if factor or not study.require_mfa else None)
            for study, report in queries.studies_with_reports(self.researcher)
        ]
        return super().get_context_data(studies=studies, second_factor=factor, **more)


class ReportView(StudyPage):
    """One night of one study: the newest, or the one that the address names."""

    permission = "studies.view_report"
    template_name = "reports/report.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        run_id = self.kwargs.get("run_id")
        report = queries.latest_report(self.study) if run_id is None else queries.report_of(self.study, run_id)
        if run_id is not None and report is None:
            raise Http404
        return super().get_context_data(report=report, **more)
