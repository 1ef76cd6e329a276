"""Reads that span a study's answers."""

from __future__ import annotations

from django.db.models import Count, Q, QuerySet, Sum

from ema_server.responses.models import Submission
from ema_server.sampling.queries import questionnaires_of_events
from ema_server.studies.models import Study


def upload_counts(study: Study) -> dict[str, int]:
    """How many batches came and what became of their items, without those of test participants."""
    totals = study.uploads.exclude(device__participant__test_person=True).aggregate(
        batches=Count("id"),
        stored=Sum("stored", default=0),
        duplicate=Sum("duplicate", default=0),
        conflict=Sum("conflict", default=0),
        rejected=Sum("rejected", default=0),
    )
    return {name: int(value) for name, value in totals.items()}


def event_reports(study: Study) -> QuerySet[Submission]:
    """What people reported by an event button: sent without a prompt, to a questionnaire that has one."""
    events = questionnaires_of_events(study)
    return _without_prompt(study).filter(_named_none, survey_version__questionnaire__in=events)


def orphans(study: Study) -> QuerySet[Submission]:
    """What came without a prompt of its person and is no report of an event."""
    return _without_prompt(study).exclude(pk__in=event_reports(study).values("pk"))


_named_none = Q(payload__prompt=None) | Q(payload__prompt__isnull=True)


def _without_prompt(study: Study) -> QuerySet[Submission]:
    return Submission.objects.filter(study=study, prompt__isnull=True)
