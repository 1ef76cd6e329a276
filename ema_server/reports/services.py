"""The night: one read, one pure call, one write."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction
from django_scopes import scope

import analysis.kernels
import analysis.report
from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.common.version import code_version
from ema_server.ledger import outbox
from ema_server.ledger import services as ledger
from ema_server.ledger.models import Job
from ema_server.participants.models import Participant
from ema_server.reports import dataset, queries
from ema_server.reports.models import Report
from ema_server.reports.plans import lock_plan as lock_plan
from ema_server.reports.plans import publish_plan as publish_plan
from ema_server.responses.queries import upload_counts
from ema_server.studies.models import Study

NIGHT = queries.NIGHT
CATCH_UP_NIGHTS = 14


class NoAnalysisPlan(DomainError):
    code = "no_analysis_plan"


def ask_for_night(*, study: Study, night: date, again: bool = False) -> Job:
    """Write down that this study's night is to be analysed. Once asked, it happens, whatever crashes."""
    if queries.current_plan(study) is None:
        raise NoAnalysisPlan(f"{study.slug} has no analysis plan yet, so there is nothing to fit.")
    return ledger.ask_for(
        kind=NIGHT,
        key=queries.night_key(study, night),
        payload={"study": study.pk, "night": night.isoformat()},
        again=again,
    )


def ask_for_due_nights(*, now: datetime) -> int:
    """One row for each collecting study whose local night has passed; asked twice it is the same row.

    Nights that passed while nobody asked (the server was down) are asked for too, up to two weeks of them.
    """
    asked = 0
    for study in queries.studies_at_night():
        local = now.astimezone(ZoneInfo(study.zone))
        newest = local.date() - timedelta(days=1 if local.time() >= study.night_at else 2)
        with scope(study=study):
            for night in queries.nights_to_ask_for(study, newest, at_most=CATCH_UP_NIGHTS):
                ask_for_night(study=study, night=night)
                asked += 1
    if asked:
        outbox.ring(NIGHT)
    return asked


def run_next_night(*, now: datetime | None = None, key: str | None = None) -> Job | None:
    """Claim one night that is due and do it; None if none waits. A failed night waits and is tried again."""
    return outbox.run_next(kind=NIGHT, now=now, key=key)


def do_night(job: Job) -> None:
    """What the outbox calls. Idempotent: the same inputs give the report that is there."""
    study = Study.objects.get(pk=job.payload["study"])
    with scope(study=study):
        produce_report(
            study=study,
            night=date.fromisoformat(job.payload["night"]),
            now=clock.now(),
            progress=lambda text: ledger.note_progress(job, text),
        )


def produce_report(
    *, study: Study, night: date, now: datetime, progress: Callable[[str], None] = lambda text: None
) -> Report:
    """Read, fit, write. The same data, plan and code give the report that is there; anything new adds one."""
    plan = queries.current_plan(study)
    if plan is None:
        raise NoAnalysisPlan(f"{study.slug} has no analysis plan yet, so there is nothing to fit.")
    started = time.perf_counter()
    cutoff = min(now, queries.night_end(study, night))
    progress("reading the answers")
    frame = dataset.load(study, cutoff, plan.document)
    inputs = {
        "night": night,
        "data_hash": dataset.data_hash(frame),
        "plan_hash": plan.digest,
        "code_version": code_version(),
    }
    known = study.reports.filter(**inputs).first()
    if known is not None:
        return known
    report = analysis.report.build(
        frame,
        plan.document,
        study=_facts(study),
        uploads=upload_counts(study),
        truth=study.simulated_truth,
        progress=progress,
    )
    with transaction.atomic():
        if not _erased_since(study, set(frame["person"])):
            row, _ = Report.objects.get_or_create(
                study=study,
                **inputs,
                defaults={
                    "plan": plan,
                    "cutoff": cutoff,
                    "n_rows": len(frame),
                    "results": report.results,
                    "figures": report.figures,
                    "seconds": time.perf_counter() - started,
                },
            )
            return row
    progress("somebody was erased meanwhile: reading again")
    return produce_report(study=study, night=night, now=now, progress=progress)


def _erased_since(study: Study, persons: set[str]) -> bool:
    """Whether one of them was erased while the models were fitted. Their rows are held until the transaction ends, so
    that an erasure that comes now finds the report."""
    people = Participant.objects.select_for_update(no_key=True).filter(study=study).order_by("pk")
    return any(person.state == Participant.State.ERASED and person.pseudonym in persons for person in people)


def compile_note() -> str | None:
    """What whoever waits should know before the first fit on a machine: kernels are compiled once. None if they are."""
    return analysis.kernels.compile_note()


def warm_up() -> None:
    """Let numba compile, or read from its cache, all that a night runs through."""
    analysis.kernels.warm_up()


def _facts(study: Study) -> dict[str, Any]:
    return {
        "slug": study.slug,
        "title": study.title,
        "simulated": study.simulated,
        "started_on": study.starts_on.isoformat(),
        "ended_on": study.ends_on.isoformat(),
        "zone": study.zone,
        "source": study.source,
    }
