"""All that is known to have happened to prompts, in order, on both clocks: the data of their timelines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from ema_server.common.phone_time import believable, parse_phone_time
from ema_server.participants.models import Participant, Pause
from ema_server.sampling.deriving import first_planning
from ema_server.sampling.models import Planning, Prompt, PromptEvent
from ema_server.sampling.prompt_state import PLANNED, RECEIVED, Asked, Happening, PromptState, called_off, prompt_state

Moves = PromptEvent.Kind.RESCHEDULED, PromptEvent.Kind.RESTORED


@dataclass(frozen=True, slots=True)
class Told:
    """One prompt with its story and what follows from it."""

    prompt: Prompt
    happenings: list[Happening]
    state: PromptState


def timeline(prompt: Prompt) -> list[Happening]:
    """What happened to one prompt: its planning, its events, its answers."""
    return timelines([prompt])[prompt.pk]


def timeline_of_person(participant: Participant, *, first: date, last: date, now: datetime) -> list[Told]:
    """The prompts of one person from one of their local dates to another, each with its story."""
    prompts = list(
        participant.prompts.filter(local_date__range=(first, last))
        .select_related("planning__plan", "participant__study")
        .order_by("scheduled_at", "rule")
    )
    stories = timelines(prompts)
    return [Told(each, stories[each.pk], state_of(each, stories[each.pk], now=now)) for each in prompts]


def state_of(prompt: Prompt, happenings: Sequence[Happening], *, now: datetime) -> PromptState:
    return prompt_state(Asked(prompt.scheduled_at, prompt.expires_at, prompt.grace_minutes), happenings, now=now)


def timelines(prompts: Sequence[Prompt]) -> dict[UUID, list[Happening]]:
    """The stories of some prompts, in three queries; four where some have moved."""
    found: dict[UUID, list[Happening]] = {prompt.pk: [] for prompt in prompts}
    moved: dict[UUID, PromptEvent] = {}
    for event in PromptEvent.objects.filter(prompt__in=found).defer("note").order_by("pk"):
        found[event.prompt_id].append(_of_event(event))
        if event.kind in Moves:
            moved.setdefault(event.prompt_id, event)
    for pk, answer in _answers(prompts):
        found[pk].append(answer)
    for prompt, planning in _plannings(prompts, moved):
        found[prompt.pk].append(_of_planning(planning))
    for pk, off in _within_open_pauses(prompts, found):
        found[pk].append(off)
    for several in found.values():
        several.sort(key=lambda each: each.order)
    return found


def _of_event(event: PromptEvent) -> Happening:
    words = event.reason
    if event.kind in Moves and event.was_at != event.now_at and event.was_at and event.now_at:
        words = f"from {_clock(event.was_at)} to {_clock(event.now_at)}: {words}"
    return Happening(
        event.kind,
        event.received_at,
        event.phone_at,
        by_phone=event.phone_text != "",
        number=event.pk,
        code=event.code,
        words=words,
        was_at=event.was_at,
        now_at=event.now_at,
    )


def _of_planning(planning: Planning) -> Happening:
    words = f"{planning.get_cause_display().lower()}, version {planning.plan.number} of the sampling plan"
    return Happening(PLANNED, planning.made_at, code=planning.cause, words=words)


def _answers(prompts: Sequence[Prompt]) -> Iterable[tuple[UUID, Happening]]:
    """What arrived for them. The rows belong to a room above, which points here."""
    there = Prompt.objects.filter(pk__in=[each.pk for each in prompts], submission__isnull=False).values_list(
        "pk", "study__starts_on", "submission__pk", "submission__complete", "submission__answered_at",
        "submission__received_at", "submission__payload__started_at",
    )  # fmt: skip
    for pk, starts_on, number, complete, answered, received, began in there:
        started = parse_phone_time(began) if began else None
        if started is not None:
            started = started.astimezone(UTC) if believable(started, study_start=starts_on, now=received) else None
        words = "a finished answer" if complete else "unfinished answers"
        yield (
            pk,
            Happening(
                RECEIVED,
                received,
                answered,
                by_phone=True,
                number=number,
                words=words,
                complete=complete,
                started_at=started,
            ),
        )


def _within_open_pauses(
    prompts: Sequence[Prompt], known: Mapping[UUID, Sequence[Happening]]
) -> Iterable[tuple[UUID, Happening]]:
    """Of a pause that is not over the ledger has no events yet: as things stand, what lies in it is called off."""
    people = {each.participant_id for each in prompts}
    paused = Pause.objects.filter(participant__in=people, participant__state=Participant.State.PAUSED)
    newest = {
        person: span for person, *span in paused.order_by("since", "pk").values_list("participant", "since", "until")
    }
    for prompt in prompts:
        since, until = newest.get(prompt.participant_id, (None, None))
        if since is None or prompt.scheduled_at < since or (until is not None and prompt.scheduled_at >= until):
            continue
        story = known[prompt.pk]
        if not any(each.kind in (RECEIVED, "completed", "expired") for each in story) and not called_off(story):
            words = "the person has paused" + ("" if until is None else f" until {_clock(until)}")
            yield prompt.pk, Happening("cancelled", since, code=PromptEvent.Code.PAUSED, words=words)


def _plannings(prompts: Sequence[Prompt], moved: dict[UUID, PromptEvent]) -> Iterable[tuple[Prompt, Planning]]:
    """The drawing that each prompt came of. The row names the one by which it stands now; of one that moved, the first is
    found again. Imported prompts have none."""
    earlier: dict[int, list[Planning]] = defaultdict(list)
    if moved:
        people = {each.participant_id for each in prompts if each.pk in moved}
        drawn = Planning.objects.filter(participant__in=people).exclude(
            cause__in=(Planning.Cause.WITHDRAWAL, Planning.Cause.FOLLOW_UP)
        )
        for each in drawn.select_related("plan").order_by("pk"):
            earlier[each.participant_id].append(each)
    for prompt in prompts:
        move = moved.get(prompt.pk)
        planning: Planning | None = prompt.planning
        if move is not None and move.was_at is not None:
            drawings = earlier[prompt.participant_id]
            before = [each for each in drawings if each.made_at < move.received_at] or drawings
            planning = first_planning(prompt, move.was_at, before)
        if planning is not None:
            yield prompt, planning


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
