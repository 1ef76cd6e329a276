"""Pages of researchers: look the study up from who asks, call one query, render."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.views.generic import TemplateView

from ema_server.accounts.models import User
from ema_server.reports import queries


class ResearcherPage(LoginRequiredMixin, TemplateView):
    """A page for who is logged in."""

    @property
    def researcher(self) -> User:
        user = self.request.user
        if not isinstance(user, User):
            raise PermissionDenied
        return user


class HomeView(ResearcherPage):
    """My studies, each with its newest finding."""

    template_name = "reports/home.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        return super().get_context_data(studies=queries.studies_with_reports(self.researcher), **more)


class ReportView(ResearcherPage):
    """One night of one study: the newest, or the one that the address names."""

    template_name = "reports/report.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        study = get_object_or_404(queries.studies_of(self.researcher), slug=self.kwargs["slug"])
        run_id = self.kwargs.get("run_id")
        report = queries.latest_report(study) if run_id is None else queries.report_of(study, run_id)
        if run_id is not None and report is None:
            raise Http404
        return super().get_context_data(study=study, report=report, **more)
