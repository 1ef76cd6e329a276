"""The pages of the schedule: the study's plan with its edits, and one person's own days. What an edit would do is told first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.participants.models import Participant
from ema_server.participants.queries import names_of
from ema_server.participants.views import PersonPage
from ema_server.sampling import person_edits, pictures, plan_edits
from ema_server.sampling.changes import Ahead, Diff, counts_in_words
from ema_server.sampling.edits import last_change_of, people_concerned
from ema_server.sampling.models import ScheduleChange
from ema_server.sampling.person_edits import Schedule
from ema_server.sampling.queries import asked_of, plan_of
from ema_server.sampling.replanning import Effect
from ema_server.sampling.undoing import undo
from ema_server.sampling.words import plan_in_words
from ema_server.studies import states
from ema_server.studies.commands import json_fault
from ema_server.studies.models import SamplingPlan, Study
from ema_server.studies.pages import StudyPage
from ema_server.studies.queries import current_sampling_plan
from ema_server.studies.sampling_rules import PLAN_KEYS, RULE_KEYS

LARGEST = 200_000  # characters of a plan
WHEN_KEYS = ("questionnaire", "count", "minutes", "from", "to")  # in this order, as people say it
WIDTH = 100  # of a line of it, where it can be
SHOWN = 8  # prompts of one example


class NotReadable(DomainError):
    code = "not_readable"
    status = 400


class ScheduleView(StudyPage):
    """What is asked of everybody and when; publishing another version, with what it does to whoever is in."""

    permission = "studies.edit_surveys"
    template_name = "sampling/schedule.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        plan = current_sampling_plan(self.study)
        text = self.request.POST.get("plan") or (_written(plan.document) if plan else _example(self.study))
        changes = list(_changes(self.study.schedule_changes.filter(participant=None)))
        return super().get_context_data(
            plan=plan,
            picture=pictures.day_picture(plan.document) if plan and not plan.document.get("imported") else None,
            sentences=plan_in_words(plan.document) if plan and not plan.document.get("imported") else [],
            text=text,
            **_seen(self.request.POST, plan.number if plan else 0),
            effect=self.request.POST.get("effect", Effect.NEXT_DAY),
            unasked=not self.study.survey_versions.exists(),
            people=people_concerned(self.study).count(),
            changes=changes,
            closed=states.refusal(self.study.state, "sampling"),
            **more,
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        given = request.POST
        try:
            if given.get("do") == "undo":
                return self._undo(given.get("change", ""), given.get("reason", ""))
            document = _read(given.get("plan", ""))
            effect = _effect(given.get("effect", ""))
            if given.get("do") != "publish":
                diff = plan_edits.preview_plan(study=self.study, document=document, effect=effect, now=clock.now())
                context = self.get_context_data(
                    diff=diff, examples=examples(self.study, diff), looked=pictures.day_picture(document)
                )
                return self.render_to_response(context)
            plan, change = plan_edits.publish_plan(
                study=self.study, document=document, based_on=_number(given.get("based_on", "")), effect=effect,
                reason=given.get("reason", "")[:500], actor=self.researcher.audit_name, now=clock.now(),
            )  # fmt: skip
        except DomainError as error:
            return self.render_to_response(self.get_context_data(fault=error.detail), status=error.status)
        reached = f" It is on its way to {change.people} participants." if change else ""
        messages.success(request, f"Version {plan.number} of the sampling plan is published.{reached}")
        return redirect("schedule", self.study.slug)

    def _undo(self, number: str, reason: str) -> HttpResponseBase:
        change = self.study.schedule_changes.filter(participant=None, number=_number(number)).first()
        if change is None:
            raise Http404
        undone = undo(change=change, reason=reason[:500], actor=self.researcher.audit_name, now=clock.now())
        messages.success(self.request, f"Change {change.number} is taken back by change {undone.number}.")
        return redirect("schedule", self.study.slug)


class PersonScheduleView(PersonPage):
    """One person's own days, waking hours, events and bursts, and the prompts that come of them."""

    permission = "studies.view_participants"
    template_name = "sampling/person_schedule.html"

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        person = self.participant
        plan = plan_of(person)
        newest = last_change_of(person)
        given = self.request.POST
        asked = asked_of(person, now=clock.now())
        picture = None
        if person.first_day and person.last_day and asked:
            today = clock.now().astimezone(ZoneInfo(person.zone or self.study.zone)).date()
            days = (person.last_day - person.first_day).days + 1
            picture = pictures.person_picture(asked, first_day=person.first_day, days=days, today=today)
        return super().get_context_data(
            participant=person,
            plan=plan,
            picture=picture,
            counted=pictures.counted(asked),
            fields=_fields(person, plan, given),
            **_seen(given, newest.number if newest else 0),
            effect=given.get("effect", Effect.NEXT_DAY),
            changes=list(_changes(ScheduleChange.objects.filter(participant=person))),
            may_change=self.researcher.has_perm("studies.change_schedule", person),
            closed=states.refusal(self.study.state, "sampling"),
            **more,
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        person, given = self.participant, request.POST
        if not self.researcher.has_perm("studies.change_schedule", person):
            raise PermissionDenied
        try:
            if given.get("do") == "undo":
                change = ScheduleChange.objects.filter(
                    participant=person, number=_number(given.get("change", ""))
                ).first()
                if change is None:
                    raise Http404
                undone = undo(
                    change=change,
                    reason=given.get("reason", "")[:500],
                    actor=self.researcher.audit_name,
                    now=clock.now(),
                )
                messages.success(request, f"Change {change.number} is taken back by change {undone.number}.")
                return redirect("person-schedule", self.study.slug, person.pk)
            schedule, effect = _schedule(person, plan_of(person), given), _effect(given.get("effect", ""))
            if given.get("do") != "change":
                diff = person_edits.preview_schedule(
                    participant=person, schedule=schedule, effect=effect, now=clock.now()
                )
                return self.render_to_response(self.get_context_data(diff=diff, examples=examples(self.study, diff)))
            person_edits.change_schedule(
                participant=person, schedule=schedule, based_on=_number(given.get("based_on", "")), effect=effect,
                reason=given.get("reason", "")[:500], actor=self.researcher.audit_name, now=clock.now(),
            )  # fmt: skip
        except DomainError as error:
            return self.render_to_response(self.get_context_data(fault=error.detail), status=error.status)
        messages.success(request, f"{person.pseudonym}’s schedule is changed.")
        return redirect("person-schedule", self.study.slug, person.pk)


def examples(study: Study, diff: Diff) -> list[dict[str, Any]]:
    """What a diff does to a few people, prompt by prompt, by the clock on their own wall."""
    zones = dict(
        study.participants.filter(pseudonym__in=[name for name, _ in diff.examples]).values_list("pseudonym", "zone")
    )
    found = []
    for name, changes in diff.examples:
        zone = ZoneInfo(zones[name])

        def at(moment: Any, zone: ZoneInfo = zone) -> Any:
            return moment.astimezone(zone).replace(tzinfo=None)  # a template would show it by the server's clock

        rows = [("moves", each.questionnaire, at(each.opens), at(draw.opens)) for each, draw in changes.moved]
        rows += [("otherwise", each.questionnaire, at(each.opens), at(draw.opens)) for each, draw in changes.altered]
        rows += [("asked again", each.questionnaire, None, at(draw.opens)) for each, draw in changes.restored]
        rows += [("added", draw.questionnaire, None, at(draw.opens)) for draw in changes.added]
        rows += [("falls away", each.questionnaire, at(each.opens), None) for each in changes.called_off]
        rows += [
            ("too close", each.questionnaire, at(each.opens) if isinstance(each, Ahead) else None, None)
            for each in changes.too_close
        ]
        rows.sort(key=lambda row: row[2] or row[3] or row[1])
        found.append({"person": name, "zone": zones[name], "rows": rows[:SHOWN], "more": max(len(rows) - SHOWN, 0)})
    return found


def _changes(changes: Any) -> Any:
    """Edits, the newest first, each with who made it and whether it can be taken back."""
    found = list(changes.select_related("plan", "undone_by").order_by("-number"))
    names = names_of({each.actor for each in found})
    for place, each in enumerate(found):
        taken_back = getattr(each, "undone_by", None)
        reached = each.plannings.count() if each.counts is None else each.counts.get("people", each.people)
        yield {
            "change": each,
            "by": names[each.actor] or each.actor,
            "taken_back": taken_back,
            "reached": reached,
            "may_undo": place == 0 and each.counts is not None and taken_back is None,
            "words": counts_in_words(each.counts or {}),
        }


def _read(text: str) -> dict[str, Any]:
    if len(text) > LARGEST:
        raise NotReadable(f"plan: has {len(text):,} characters; at most {LARGEST:,} are read.")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotReadable(f"plan: is no JSON ({json_fault(error)}).") from None
    if not isinstance(document, dict):
        raise NotReadable('plan: must be an object like {"rules": […]}.')
    return document


def _written(document: Mapping[str, Any]) -> str:
    """A plan as people edit it: a paragraph for each rule and wave."""
    lines = []
    for name, value in _in_order(document, PLAN_KEYS).items():
        if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            inside = ",\n".join(_filled(_in_order(each, RULE_KEYS)) for each in value)
            lines.append(f" {json.dumps(name)}: [\n{inside}]")
        else:
            lines.append(f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(lines) + "\n}"


def _filled(thing: Mapping[str, Any]) -> str:
    """One rule or wave in lines that a screen holds."""
    lines = [""]
    for name, value in thing.items():
        value = _in_order(value, WHEN_KEYS) if isinstance(value, Mapping) else value
        part = f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"
        if lines[-1] and len(lines[-1]) + len(part) > WIDTH:
            lines.append("")
        lines[-1] += f", {part}" if lines[-1] else part
    return "   {" + ",\n    ".join(lines) + "}"


def _in_order(thing: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """As the language names its parts: the database keeps no order."""
    known = [name for name in names if name in thing]
    return {name: thing[name] for name in [*known, *(name for name in thing if name not in known)]}


def _example(study: Study) -> str:
    """A sound beginning: six random prompts between waking and sleep, with the study's own questionnaire."""
    first = study.survey_versions.order_by("published_at").values_list("questionnaire", flat=True).first()
    rule = {
        "key": "momentary", "title": "Through the day", "questionnaire": first or "momentary", "open_minutes": 60,
        "random": {"count": 6, "from": "wake", "to": "sleep"}, "reminders": [15],
    }  # fmt: skip
    return _written({"schema": "ema-sampling/1", "gap_minutes": 30, "waking": ["08:00", "22:00"], "rules": [rule]})


def _seen(given: Mapping[str, str], newest: int) -> dict[str, Any]:
    """What the editor has before them: whoever looks sees their edit beside the newest state, and is told if that moved on."""
    before = given.get("based_on", "")
    looking = given.get("do") == "look"
    return {
        "based_on": newest if looking or not before else before,
        "moved_on": looking and before not in ("", str(newest)),
    }


def _effect(text: str) -> str:
    if text not in Effect.values:
        raise NotReadable(f"effect: {text[:40]!r} is unknown; one of {', '.join(Effect.values)}.")
    return text


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _day(name: str, text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise NotReadable(f"{name}: {text[:40]!r} is no date; write one like 2026-03-02.") from None


WEEKEND = ("6", "7")


def _fields(person: Participant, plan: SamplingPlan | None, given: Mapping[str, str]) -> dict[str, Any]:
    """What the form shows: as typed, else as it is."""
    own, document = person.schedule, plan.document if plan else {}
    waking = own.get("waking", {})
    every, weekend = waking.get("every", ["", ""]), waking.get("6", ["", ""])
    return {
        "last_day": given.get("last_day", str(person.last_day or "")),
        "wake": given.get("wake", every[0]),
        "sleep": given.get("sleep", every[1]),
        "weekend_wake": given.get("weekend_wake", weekend[0]),
        "weekend_sleep": given.get("weekend_sleep", weekend[1]),
        "events": [
            (
                each["key"],
                each.get("title") or each["key"],
                given.get(f"event:{each['key']}", own.get("events", {}).get(each["key"], "")),
            )
            for each in document.get("own_events", ())
        ],
        "waves": [
            (
                each["key"],
                each.get("title") or each["key"],
                given.get(f"wave:{each['key']}", own.get("waves", {}).get(each["key"], "")),
            )
            for each in document.get("waves", ())
        ],
        "waking": document.get("waking"),
    }


def _schedule(person: Participant, plan: SamplingPlan | None, given: Mapping[str, str]) -> Schedule:
    """The form as a schedule. Hours that the form does not know (a single weekday's) stay as they are."""
    own = json.loads(json.dumps(person.schedule))
    waking = own.setdefault("waking", {})
    for days, name in ((("every",), ""), (WEEKEND, "weekend_")):
        hours = [given.get(f"{name}wake", "").strip(), given.get(f"{name}sleep", "").strip()]
        if any(hours) and not all(hours):
            raise NotReadable(f"{name}wake, {name}sleep: give both or neither.")
        for day in days:
            waking.pop(day, None)
            if all(hours):
                waking[day] = hours
    for part, prefix in (("events", "event:"), ("waves", "wave:")):
        dates = own.setdefault(part, {})
        for name in given:
            if name.startswith(prefix):
                begins = _day(name, given[name].strip())
                dates.pop(name.removeprefix(prefix), None)
                if begins:
                    dates[name.removeprefix(prefix)] = begins.isoformat()
    own = {part: value for part, value in own.items() if value}
    return Schedule(person.first_day, _day("last_day", given.get("last_day", "").strip()) or person.last_day, own)
