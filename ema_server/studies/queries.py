"""Reads of studies, always from the one who asks."""

from __future__ import annotations

from django.db.models import QuerySet
from django_scopes import scopes_disabled

from ema_server.accounts.models import User
from ema_server.studies.models import Membership, SamplingPlan, Study, SurveyVersion


def studies_of(user: User) -> QuerySet[Study]:
    """The studies of which this researcher is a member, newest first."""
    return Study.objects.filter(memberships__user=user).order_by("-starts_on", "slug")


def membership(user: User, slug: str) -> Membership | None:
    """What this researcher is in the study of this name; None also where there is no such study."""
    with scopes_disabled():
        return Membership.objects.select_related("study").filter(user=user, study__slug=slug).first()


def role_in(user: User, study: Study) -> Membership | None:
    with scopes_disabled():
        return Membership.objects.filter(user=user, study=study).first()


def current_surveys(study: Study) -> list[SurveyVersion]:
    """The newest version of each questionnaire."""
    return list(study.survey_versions.order_by("questionnaire", "-number").distinct("questionnaire"))


def current_sampling_plan(study: Study) -> SamplingPlan | None:
    return study.sampling_plans.order_by("-number").first()
