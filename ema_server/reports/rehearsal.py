"""A study that is rehearsed before it begins: what its sampling plan asks, and how precise its analysis plan will be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django_scopes import scope

from ema_server.common.errors import DomainError
from ema_server.ledger import services as outbox
from ema_server.ledger.models import Job
from ema_server.reports.models import PlanForecast
from ema_server.reports.queries import current_plan
from ema_server.sampling.dry_run import DryRun, Responding, dry_run
from ema_server.studies.models import Study
from ema_server.studies.queries import current_sampling_plan
from ema_server.studies.services import InvalidSamplingPlan, faults_of_plan
from ema_server.studies.structure import keys

if TYPE_CHECKING:
    from ema_server.reports.forecast import Forecast

FORECAST = "plan_forecast"  # the kind of its jobs
MOST_PEOPLE = 2_000
SECONDS_AN_ITEM = 7  # assumed, and said so

Progress = Callable[[str, int, int], None]  # what is being done, how much of how much is


class NothingToRehearse(DomainError):
    code = "nothing_to_rehearse"


class InvalidRehearsal(DomainError):
    code = "invalid_rehearsal"
    status = 400


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a page or a command shows of a plan before it is in use. `forecast_words` say also why there is no forecast."""

    run: DryRun
    forecast: Forecast | None
    forecast_words: list[str]

    @property
    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def plan_rehearsal(
    study: Study,
    document: Mapping[str, Any] | None = None,
    *,
    people: int = 200,
    days: int | None = None,
    zones: Sequence[str] | None = None,
    within_dates: bool = False,
    responding: Responding | None = None,
    seed: int = 1,
    simulations: int = 100,
    progress: Progress = lambda what, done, total: None,
) -> Rehearsal:
    """Play a sampling plan through: the study's newest, or a document that is not published. A faulty one is refused with all
    its faults.

    people : who take part, in the dry run and in the forecast
    simulations : studies of the forecast; 0 for none
    days : for how many days each person takes part; all days of the study where not said
    within_dates : whether people begin and end within the study's dates, or all over a year
    """
    if document is None:
        plan = current_sampling_plan(study)
        if plan is None:
            raise NothingToRehearse(
                f"{study.slug} has no sampling plan yet: publish one (manage.py publish_sampling_plan {study.slug} FILE --yes), or "
                "give one to rehearse (--plan FILE)."
            )
        document = plan.document
    faults = faults_of_plan(study, document)
    if faults:
        raise InvalidSamplingPlan("\n".join(faults))
    if document.get("imported"):
        raise NothingToRehearse(f"{study.slug} was imported: its plan only names what was asked, and asks nobody.")
    days = study.days if days is None else days
    if not 1 <= days <= study.days:
        raise InvalidRehearsal(
            f"days: {days} is not accepted; the study lasts {study.days} days, so 1 to {study.days} are."
        )
    lengths = minutes_of(study)
    try:
        run = dry_run(
            document,
            study_days=days,
            people=people,
            zones=zones,
            starts=_starts(study, days) if within_dates else None,
            arms=keys(study.structure, "arms"),
            lengths=lengths,
            responding=responding,
            seed=seed,
            progress=lambda done, total: progress("People asked", done, total),
        )
    except ValueError as error:
        raise InvalidRehearsal(str(error)) from error
    run.assumptions.append(
        f"An item takes {SECONDS_AN_ITEM} seconds, all of a questionnaire's items are shown (an assumption of ours)."
    )
    if not simulations:
        return Rehearsal(run, None, [])
    return Rehearsal(run, *_forecast(study, run, simulations=simulations, seed=seed, progress=progress))


@transaction.atomic
def ask_for_forecast(*, study: Study, people: int, now: datetime) -> PlanForecast:
    """Have the analysis worker simulate the newest plan with so many people. Asked again for the same, it is made anew."""
    plan = current_sampling_plan(study)
    if plan is None:
        raise NothingToRehearse(f"{study.slug} has no sampling plan yet.")
    if not 2 <= people <= MOST_PEOPLE:
        raise InvalidRehearsal(f"people: {people} is not accepted; from 2 to {MOST_PEOPLE:,} are.")
    made = PlanForecast.objects.create(study=study, sampling_plan=plan, people=people, asked_at=now)
    outbox.ask_for(kind=FORECAST, key=str(made.pk), payload={"study": study.pk, "forecast": made.pk})
    return made


def make_forecast(job: Job) -> None:
    """What the outbox calls, in the worker that has the engine."""
    study = Study.objects.filter(pk=job.payload["study"]).first()
    if study is None:
        return
    with scope(study=study):
        wanted = PlanForecast.objects.select_related("sampling_plan").get(pk=job.payload["forecast"])
        try:
            made = plan_rehearsal(
                study,
                wanted.sampling_plan.document,
                people=wanted.people,
                progress=lambda what, done, total: outbox.note_progress(job, f"{what}: {done} of {total}"),
            )
            words = made.forecast_words
        except DomainError as error:
            words = [error.detail]
        PlanForecast.objects.filter(pk=wanted.pk).update(words=words)


def minutes_of(study: Study) -> dict[str, float]:
    """About how long each questionnaire takes, by the items of its newest version."""
    newest = {version.questionnaire: version.survey for version in study.survey_versions.order_by("number")}
    return {name: sum(item.asks for item in survey.items) * SECONDS_AN_ITEM / 60 for name, survey in newest.items()}


def _forecast(
    study: Study, run: DryRun, *, simulations: int, seed: int, progress: Progress
) -> tuple[Forecast | None, list[str]]:
    """Of the model of the analysis plan, asked and answered as in the dry run; or why there is none."""
    # The engine takes seconds to import: not in every web process, and not where no forecast is wanted.
    from ema_server.reports.forecast import Assumptions, forecast
    from ema_server.reports.forecast_model import InvalidForecast

    plan = current_plan(study)
    document = plan.document if plan is not None else None
    about = (document or {}).get("questionnaire")
    asked = [each for each in run.questionnaires if about in (None, each.questionnaire)]
    if not asked:
        return None, [f"No forecast: {about or 'no questionnaire'} is what the analysis needs, and nobody is asked it."]
    most = max(asked, key=lambda each: each.prompts)
    try:
        made = forecast(
            document,
            Assumptions(
                people=round(run.people * most.people / run.asked),
                prompts=max(round(most.prompts), 1),
                prompts_per_day=round(most.prompts / most.days, 2),
                days=most.last_day - most.first_day + 1,
                compliance=round(most.answered, 2),
            ),
            simulations=simulations,
            seed=seed,
            progress=lambda done, total: progress("Studies fitted", done, total),
        )
    except InvalidForecast as error:
        return None, [f"No forecast: {error.detail}"]
    return made, [f"Answers to {most.questionnaire}, as many as in the dry run.", *made.in_words()]


def _starts(study: Study, days: int) -> list[date]:
    return [study.starts_on + timedelta(days=ahead) for ahead in range(study.days - days + 1)]
