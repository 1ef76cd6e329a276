"""What is to be asked, or asked again, now: the one question that a server puts to the whole ledger every minute."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from ema_server.participants.models import Participant
from ema_server.studies import states

# How far back a look must go: the longest that anything of a study that is not locked may stay open, and when it last reminds.
_REACH = """
SELECT max((rule->>'open_minutes')::float), max((SELECT max(each::int) FROM jsonb_array_elements_text(rule->'reminders') each))
FROM studies_samplingplan plan JOIN studies_study study ON study.id = plan.study_id AND study.state = ANY (%(answers)s),
    jsonb_array_elements(document->'rules') rule
"""
# Most of what is open was asked a while ago. So first all that was queued lately is left out at once, by the index on the
# time of queueing; what else could speak against a prompt is looked up for the few that stay, one by one: OFFSET 0 keeps the planner, who cannot know that they
# are few, from reading whole tables for them.
_DUE = """
WITH reminders AS MATERIALIZED (
    SELECT plan.id AS plan_id, rule->>'key' AS rule, array_agg(each::int) AS minutes
    FROM studies_samplingplan plan JOIN studies_study study ON study.id = plan.study_id AND study.state = ANY (%(answers)s),
        jsonb_array_elements(document->'rules') rule, jsonb_array_elements_text(rule->'reminders') each
    GROUP BY plan.id, rule->>'key'
), queued AS MATERIALIZED (
    SELECT prompt_id, received_at FROM sampling_promptevent WHERE kind = 'queued' AND received_at >= %(first)s
), waiting AS MATERIALIZED (
    SELECT prompt.id, prompt.study_id, prompt.participant_id, prompt.scheduled_at, newest.at
    FROM sampling_prompt prompt LEFT JOIN reminders ON reminders.plan_id = prompt.plan_id AND reminders.rule = prompt.rule
    CROSS JOIN LATERAL (
        SELECT max(scheduled_at + make_interval(mins => each)) AS at FROM unnest(0 || minutes) each
        WHERE scheduled_at + make_interval(mins => each) <= %(now)s) newest
    WHERE scheduled_at >= %(first)s AND scheduled_at <= %(now)s AND expires_at > %(now)s AND newest.at >= %(since)s
        AND NOT EXISTS (SELECT FROM queued WHERE queued.prompt_id = prompt.id AND queued.received_at >= newest.at)
)
SELECT waiting.id, waiting.study_id, participant_id, at, at > scheduled_at
FROM waiting JOIN studies_study study ON study.id = waiting.study_id JOIN participants_participant person ON person.id = participant_id
WHERE (person.state = %(active)s AND study.state = ANY (%(asks)s) OR person.state = %(withdrawn)s AND study.state = ANY (%(answers)s))
    AND NOT EXISTS (SELECT FROM responses_submission answer WHERE answer.prompt_id = waiting.id OFFSET 0)
    AND NOT EXISTS (SELECT FROM sampling_promptevent event WHERE event.prompt_id = waiting.id AND kind IN ('completed', 'expired') OFFSET 0)
    AND NOT EXISTS (
        SELECT FROM sampling_promptevent event WHERE event.prompt_id = waiting.id AND kind = 'cancelled' AND NOT EXISTS (
            SELECT FROM sampling_promptevent later WHERE later.prompt_id = waiting.id AND later.kind = 'restored'
                AND later.id > event.id) OFFSET 0)
ORDER BY at, waiting.id
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A prompt whose moment has come. `at` is that moment; `again`: it is a reminder's."""

    prompt: UUID
    study: int
    participant: int
    at: datetime
    again: bool


def due(now: datetime, *, since: datetime | None = None) -> list[Due]:
    """The prompts among all studies that are open and have neither answer nor outcome, and of which nothing was queued since
    the newest of their moments: their time, or a reminder. However late the server comes, each is asked once and not once
    for every moment that it missed.

    A study must be one that asks. Whoever withdrew is asked what the plan asks on withdrawal; all else was called off then.
    `since` leaves out older moments: it spares whoever has looked a minute ago the long look back.
    """
    facts: dict[str, Any] = {
        "now": now,
        "active": Participant.State.ACTIVE,
        "withdrawn": Participant.State.WITHDRAWN,
        "asks": [state for state in states.STATES if states.allows(state, "prompt")],
        "answers": [state for state in states.STATES if states.allows(state, "answers")],
    }
    with connection.cursor() as cursor:
        cursor.execute(_REACH, facts)
        longest, last_reminder = (timedelta(minutes=minutes or 0) for minutes in cursor.fetchone())
        first = now - longest
        if since is not None:
            first = max(first, since - last_reminder)
        cursor.execute(_DUE, {**facts, "first": first, "since": since or first})
        return [Due(*row) for row in cursor.fetchall()]
