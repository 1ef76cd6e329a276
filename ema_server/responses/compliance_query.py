"""The one pass over a study's prompts from which all compliance is counted.

What is known of a prompt is a number of bits, and prompts are counted by their bits. An answer settles most of them, so events
are read of the unanswered alone, by one walk along the index `events_of_prompts`.
"""

from __future__ import annotations

from ema_server.sampling.prompt_state import ON_THE_PHONE

BITS = {"sent": 1, "delivered": 2, "undelivered": 4, "started": 8, "completed": 16, "in_time": 32}
_LOOK_CLOSER = 64  # cancelled or undelivered: what that means depends on what came before and after

_ARRIVED = BITS["sent"] | BITS["delivered"]
_BEGUN = _ARRIVED | BITS["started"]
_SIGNS: dict[str, int | str] = {  # the frequent ones first
    "queued": 0,
    "sent": BITS["sent"],
    "delivered": _ARRIVED,
    "shown": _ARRIVED,
    "expired": f"CASE WHEN device_id IS NULL THEN 0 ELSE {BITS['sent']} END",  # a sign where a phone said so
    **dict.fromkeys(sorted(ON_THE_PHONE - {"delivered", "shown"}), _ARRIVED),
    "started": _BEGUN,
    "completed": _BEGUN,
    "reissued": BITS["sent"],  # phones alone say that they asked again
    "cancelled": _LOOK_CLOSER,
    "undelivered": _LOOK_CLOSER,
}
_BITS_OF_EVENT = " ".join(f"WHEN '{kind}' THEN {bits}" for kind, bits in _SIGNS.items())

# Whether somebody had begun by the prompt's end: they may then go on for the grace.
_BEGAN_BY_THE_END = """
SELECT FROM sampling_promptevent event WHERE event.prompt_id = prompt.id AND kind IN ('started', 'completed')
    AND received_at <= %(cutoff)s AND coalesce(phone_at, received_at) <= expires_at
UNION ALL
SELECT FROM responses_submission answer WHERE answer.prompt_id = prompt.id AND received_at <= %(cutoff)s
    AND (coalesce(answer.answered_at, received_at) <= expires_at OR CASE
        WHEN pg_input_is_valid(payload->>'started_at', 'timestamptz') THEN (payload->>'started_at')::timestamptz
            BETWEEN %(believed_from)s AND least(expires_at, received_at + interval '366 days') END)
"""

# Of an unanswered prompt that was called off, or of which somebody said that it did not arrive: its bits, or NULL where the
# server had called it off for good.
_CLOSER = f"""
CASE WHEN EXISTS (
    SELECT FROM sampling_promptevent off WHERE off.prompt_id = asked.id AND kind = 'cancelled' AND phone_text = ''
        AND received_at <= %(cutoff)s AND NOT EXISTS (
            SELECT FROM sampling_promptevent later WHERE later.prompt_id = asked.id AND later.kind = 'restored'
                AND later.phone_text = '' AND later.received_at <= %(cutoff)s AND later.id > off.id)) THEN NULL
ELSE (
    WITH happened AS MATERIALIZED (
        SELECT id, kind, code, phone_text, received_at, coalesce(phone_at, received_at) AS at FROM sampling_promptevent
        WHERE prompt_id = asked.id AND received_at <= %(cutoff)s)
    SELECT said.bits & ~{_LOOK_CLOSER}
        | CASE WHEN EXISTS (SELECT FROM happened WHERE kind = 'cancelled' AND phone_text <> '') THEN {BITS["sent"]} ELSE 0 END
        | CASE WHEN said.bits & {BITS["delivered"]} = 0 AND coalesce(
            (SELECT kind = 'undelivered' FROM happened WHERE kind IN ('sent', 'undelivered')
             ORDER BY at DESC, received_at DESC, id DESC LIMIT 1),
            EXISTS (SELECT FROM happened off WHERE kind = 'cancelled' AND code = ANY (%(never_sent)s) AND NOT EXISTS (
                SELECT FROM happened WHERE kind = 'restored' AND (at, received_at, id) > (off.at, off.received_at, off.id))))
            THEN {BITS["undelivered"]} ELSE 0 END
) END
"""

QUERY = f"""
WITH people AS MATERIALIZED (
    SELECT id, pseudonym, date_trunc('second', enrolled_at) AS since,
        (SELECT range_agg(tstzrange(date_trunc('second', created_at), revoked_at)) FROM participants_device
         WHERE participant_id = person.id AND (revoked_at IS NULL OR revoked_at > created_at)) AS devices,
        (SELECT coalesce(range_agg(tstzrange(since, until)), '{{}}') FROM participants_pause
         WHERE participant_id = person.id) AS pauses
    FROM participants_participant person
    WHERE study_id = %(study)s AND NOT test_person AND state <> %(erased)s AND enrolled_at <= %(cutoff)s
        AND %(site)s IN ('', site)
), answers AS (
    SELECT prompt_id, coalesce(min(answered_at) FILTER (WHERE complete), min(received_at) FILTER (WHERE complete)) AS finished_at
    FROM responses_submission
    WHERE study_id = %(study)s AND prompt_id IS NOT NULL AND received_at <= %(cutoff)s
    GROUP BY prompt_id
), due AS (
    SELECT prompt.*, answers.prompt_id IS NOT NULL AS answered, finished_at
    FROM sampling_prompt prompt LEFT JOIN answers ON answers.prompt_id = prompt.id
    WHERE study_id = %(study)s AND scheduled_at <= %(cutoff)s AND NOT practice
    OFFSET 0  -- apart from the people, of whom the planner would expect too few prompts
), asked AS MATERIALIZED (
    SELECT prompt.id, participant_id, day, wave, questionnaire, rule, local_date, date_part('hour', local_time)::int AS hour, CASE
        WHEN finished_at <= expires_at THEN {_BEGUN | BITS["completed"] | BITS["in_time"]}
        WHEN grace_minutes > 0 AND finished_at <= expires_at + make_interval(mins => grace_minutes)
            AND EXISTS ({_BEGAN_BY_THE_END}) THEN {_BEGUN | BITS["completed"] | BITS["in_time"]}
        WHEN finished_at IS NOT NULL THEN {_BEGUN | BITS["completed"]}
        WHEN answered THEN {_BEGUN} END AS bits
    FROM due prompt JOIN people ON people.id = participant_id
    WHERE (scheduled_at >= people.since OR plan_id = ANY (%(imported)s))
        AND (answered OR (
            (people.devices @> scheduled_at OR plan_id = ANY (%(imported)s)) AND NOT people.pauses @> scheduled_at
            AND (%(quiet_since)s::timestamptz IS NULL OR scheduled_at < %(quiet_since)s OR rule = ANY (%(asked_all_the_same)s))))
), said AS (
    SELECT prompt_id, bit_or(CASE kind {_BITS_OF_EVENT} ELSE 0 END) AS bits
    FROM sampling_promptevent
    WHERE prompt_id = ANY (ARRAY (SELECT id FROM asked WHERE bits IS NULL)) AND received_at <= %(cutoff)s
    GROUP BY prompt_id
), known AS (
    SELECT participant_id, day, wave, questionnaire, rule, local_date, hour, CASE
        WHEN asked.bits IS NOT NULL THEN asked.bits
        WHEN said.bits IS NULL THEN 0
        WHEN said.bits & {_LOOK_CLOSER} = 0 THEN said.bits
        ELSE {_CLOSER} END AS bits
    FROM asked LEFT JOIN said ON said.prompt_id = asked.id OFFSET 0
), counted AS (
    SELECT participant_id, day, wave, questionnaire, rule, local_date, hour, bits, count(*) AS prompts
    FROM known WHERE bits IS NOT NULL
    GROUP BY GROUPING SETS ((participant_id, bits), (day, wave, questionnaire, rule, bits), (local_date, hour, bits))
)
SELECT pseudonym, day, wave, questionnaire, rule, local_date, hour, bits, prompts
FROM counted LEFT JOIN people ON people.id = participant_id
"""
