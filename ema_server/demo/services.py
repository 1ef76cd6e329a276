"""Setting the demo's studies up as a researcher would, and clearing them away before the next run."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo

from django.db import connection, transaction
from django_scopes import scope

from ema_server.accounts.models import User
from ema_server.common.errors import DomainError
from ema_server.demo.script import DemoStudy, Person
from ema_server.ledger import audit
from ema_server.ledger.models import Job
from ema_server.participants.person_data import import_person_table
from ema_server.participants.services import invite
from ema_server.reports.services import publish_plan
from ema_server.sampling.forgetting import events_may_go
from ema_server.sampling.plan import as_utc
from ema_server.studies.models import Study
from ema_server.studies.services import create_study, publish_sampling_plan, publish_survey
from ema_server.vault.services import discard_keys

RESEARCHER = "researcher@example.org"
DEMO_LOCK = 0x454D4144  # any number that nothing else locks

# Children before parents: what one demo study owns, table by table.
_OWNED = (
    "DELETE FROM exports_export WHERE study_id = %(study)s",
    "DELETE FROM reports_report WHERE study_id = %(study)s",
    "DELETE FROM reports_analysisplan WHERE study_id = %(study)s",
    "DELETE FROM responses_upload WHERE study_id = %(study)s",
    "DELETE FROM responses_quarantined WHERE study_id = %(study)s",
    "DELETE FROM responses_conflict USING responses_submission s WHERE s.id = submission_id AND s.study_id = %(study)s",
    "DELETE FROM responses_submission WHERE study_id = %(study)s",
    "DELETE FROM sampling_promptevent WHERE study_id = %(study)s",
    "DELETE FROM participants_devicereport USING participants_participant p WHERE p.id = participant_id AND p.study_id = %(study)s",
    "DELETE FROM participants_seriesvalues USING participants_series s WHERE s.id = series_id AND s.study_id = %(study)s",
    "DELETE FROM participants_series WHERE study_id = %(study)s",
    "DELETE FROM sampling_decision USING sampling_prompt p WHERE p.id = prompt_id AND p.study_id = %(study)s",
    "DELETE FROM sampling_prompt WHERE study_id = %(study)s",
    "DELETE FROM sampling_planning WHERE study_id = %(study)s",
    "DELETE FROM sampling_schedulechange WHERE study_id = %(study)s",
)


class NotTheDemos(DomainError):
    code = "not_a_demo_study"


@dataclass(frozen=True, slots=True)
class Invited:
    """A person of the demo and the code on their invitation."""

    person: Person
    code: str


def claim_the_demo() -> bool:
    """Whether this process may be the one demo of this database; held until its connection ends, however that ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [DEMO_LOCK])
        (mine,) = cursor.fetchone()
    return bool(mine)


def demo_researcher() -> tuple[User, str]:
    """The demo's researcher, with a new password that is shown once."""
    password = secrets.token_urlsafe(9)
    user = User.objects.filter(email=RESEARCHER).first() or User(email=RESEARCHER, name="Demo researcher")
    user.set_password(password)
    user.save()
    return user, password


@transaction.atomic
def start_clean(demo: DemoStudy) -> None:
    """Remove what an earlier run of this demo study left; a study that is not the demo's stays untouched."""
    study = Study.objects.filter(slug=demo.slug).first()
    if study is None:
        return
    if study.source != demo.source:
        raise NotTheDemos(
            f"There is a study {demo.slug!r} here that the demo did not make. Use another database (unset DATABASE_URL)."
        )
    with scope(study=study):
        keys = list(study.participants.values_list("key_id", flat=True))
        audit.record(action="study.removed", actor="server", study_id=study.pk, about=f"study:{study.pk}")
    with events_may_go(), connection.cursor() as cursor:
        for statement in _OWNED:
            cursor.execute(statement, {"study": study.pk})
    Job.objects.filter(kind="night", key__startswith=f"{demo.slug}:").delete()
    study.delete()
    transaction.on_commit(lambda: discard_keys(owners=keys))


@transaction.atomic
def date_back(demo: DemoStudy) -> None:
    """Have everybody enrol on the morning of their first day: their phones are replayed today, and what came before somebody
    enrolled was not asked of them."""
    study = Study.objects.get(slug=demo.slug)
    with scope(study=study):
        for person in study.participants.filter(enrolled_at__isnull=False, first_day__isnull=False):
            morning = as_utc(person.first_day, time(0), ZoneInfo(person.zone))  # type: ignore[arg-type]
            study.participants.filter(pk=person.pk).update(enrolled_at=morning)
            person.devices.update(created_at=morning)


@transaction.atomic
def set_up(
    demo: DemoStudy, *, researcher: User, now: datetime, each: Callable[[], None] = lambda: None
) -> list[Invited]:
    """The study, live: questionnaire, sampling and analysis plan, person table, one single-use code for each person."""
    secret = {} if demo.secret is None else {"secret": demo.secret}
    study = create_study(
        owner=researcher,
        actor=researcher.audit_name,
        slug=demo.slug,
        title=demo.title,
        description=demo.description,
        source=demo.source,
        zone=demo.zone,
        starts_on=demo.starts_on,
        ends_on=demo.ends_on,
        state=Study.State.LIVE,
        simulated_truth=demo.simulated_truth,
        **secret,
    )
    with scope(study=study):
        return _fill(study, demo, researcher=researcher, now=now, each=each)


def _fill(study: Study, demo: DemoStudy, *, researcher: User, now: datetime, each: Callable[[], None]) -> list[Invited]:
    actor = researcher.audit_name
    publish_survey(study=study, questionnaire=demo.questionnaire, document=demo.survey, actor=actor)
    publish_sampling_plan(study=study, document=demo.sampling, actor=actor)
    publish_plan(study=study, document=demo.plan, actor=actor)
    invited = []
    for person in demo.people:
        _, code = invite(
            study=study,
            pseudonym=person.pseudonym,
            now=now,
            actor=actor,
            first_day=person.first_day,
            last_day=person.last_day,
        )
        invited.append(Invited(person, code))
        each()
    covariates = {person.pseudonym: person.covariates for person in demo.people if person.covariates}
    if covariates:
        import_person_table(study=study, rows=covariates, actor=actor)
    return invited
