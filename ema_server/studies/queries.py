"""Reads of studies, always from the one who asks."""

from __future__ import annotations

from django.db.models import QuerySet

from ema_server.accounts.models import User
from ema_server.studies.models import SamplingPlan, Study, SurveyVersion


def studies_of(user: User) -> QuerySet[Study]:
    """The studies of which this researcher is a member, newest first."""
    return Study.objects.filter(memberships__user=user).order_by("-starts_on", "slug")


def current_surveys(study: Study) -> list[SurveyVersion]:
    """The newest version of each questionnaire."""
    return list(study.survey_versions.order_by("questionnaire", "-number").distinct("questionnaire"))


def current_sampling_plan(study: Study) -> SamplingPlan | None:
    return study.sampling_plans.order_by("-number").first()
