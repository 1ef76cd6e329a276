"""Pages of reports: look the study up from who asks, call one query, render."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect

from ema_server.accounts.queries import session_has_second_factor
from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.reports import queries, rehearsal
from ema_server.studies.pages import ResearcherPage, StudyPage

PEOPLE_ON_THE_PAGE = 60  # simulated in the request, in well under a second


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


class DryRunView(StudyPage):
    """The plan in force, played through with simulated people; and how precise the analysis would be, which the analysis worker
    simulates when it is asked for."""

    permission = "studies.edit_surveys"
    template_name = "reports/dry_run.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        try:
            found["run"] = rehearsal.plan_rehearsal(self.study, people=PEOPLE_ON_THE_PAGE, simulations=0).as_json["run"]
        except DomainError as error:
            found["nothing"] = error.detail
        newest = queries.newest_forecast(self.study)
        invited = self.study.participants.filter(test_person=False).count()
        return super().get_context_data(
            newest=newest,
            job=queries.job_of_forecast(newest) if newest and newest.words is None else None,
            people=self.request.POST.get("people") or (newest.people if newest else max(invited, 60)),
            **found,
            **more,
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        given = request.POST.get("people", "")
        people = int(given) if given.isdecimal() and len(given) < 10 else 0
        try:
            rehearsal.ask_for_forecast(study=self.study, people=people, now=clock.now())
        except DomainError as error:
            return self.render_to_response(self.get_context_data(fault=error.detail), status=error.status)
        return redirect("dry-run", self.study.slug)
