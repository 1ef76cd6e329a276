"""A ledger of any size, made in SQL: studies with people all over the world, prompts of weeks, what phones said of them.

Nothing here is drawn by a plan: a bench of reading needs rows that look like a server's, fast.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[object, ...]]
SLOTS = 6
PLAN = """{"schema": "ema-sampling/1", "rules": [
  {"key": "momentary", "questionnaire": "momentary", "open_minutes": 60, "reminders": [15], "random": {"count": 5}},
  {"key": "evening", "questionnaire": "evening", "open_minutes": 300, "times": ["19:00"]}]}"""

STUDIES = """
INSERT INTO studies_study (slug, title, description, source, state, zone, starts_on, ends_on, night_at, secret, require_mfa,
    created_at)
SELECT %(name)s || n, 'A study', '', '', 'live', 'UTC', %(starts)s::date, %(starts)s::date + 400, '02:00', '\\x00', false, now()
FROM generate_series(1, %(studies)s) n RETURNING id
"""
PLANS = """
INSERT INTO studies_samplingplan (study_id, number, document, digest, published_at)
SELECT id, 1, %(plan)s::jsonb, '', now() FROM studies_study WHERE slug LIKE %(name)s || '%%'
"""
SURVEYS = """
INSERT INTO studies_surveyversion (study_id, questionnaire, number, document, digest, published_at)
SELECT id, 'momentary', 1, '{}', '', now() FROM studies_study WHERE slug LIKE %(name)s || '%%'
"""
PEOPLE = """
INSERT INTO participants_participant (study_id, pseudonym, state, zone, first_day, last_day, test_person, enrolled_at, created_at)
SELECT id, 'P' || lpad(n::text, 5, '0'), 'active', 'UTC', %(starts)s::date, %(starts)s::date + %(days)s - 1, false,
    %(starts)s - interval '1 day', now()
FROM studies_study, generate_series(1, %(people)s) n WHERE slug LIKE %(name)s || '%%' ORDER BY id, n
"""
DEVICES = """
INSERT INTO participants_device (participant_id, token_digest, platform, os_version, app_version, zone, created_at)
SELECT p.id, encode(sha256(p.key_id::text::bytea), 'hex'), 'android', '', '', 'UTC', p.enrolled_at
FROM participants_participant p JOIN studies_study s ON s.id = p.study_id WHERE s.slug LIKE %(name)s || '%%'
"""
# Five random moments from 08:00 to 22:00 and one at 19:00, by a clock that is up to twelve hours off; person by person.
PROMPTS = """
INSERT INTO sampling_prompt (id, study_id, participant_id, plan_id, rule, questionnaire, day, slot, scheduled_at, expires_at,
    local_date, local_time, utc_offset_minutes, zone, practice, wave)
SELECT gen_random_uuid(), study, person, plan, CASE slot WHEN 6 THEN 'evening' ELSE 'momentary' END,
    CASE slot WHEN 6 THEN 'evening' ELSE 'momentary' END, day, slot, wall - ahead, wall - ahead
    + CASE slot WHEN 6 THEN interval '5 hours' ELSE interval '1 hour' END, wall::date, wall::time,
    extract(epoch FROM ahead) / 60, 'UTC', false, CASE WHEN day <= 14 THEN 'w1' ELSE 'w2' END
FROM (
    SELECT p.study_id AS study, p.id AS person, m.id AS plan, day, slot, make_interval(hours => (p.id %% 24)::int - 12) AS ahead,
        (%(starts)s::date + day - 1 + CASE slot WHEN 6 THEN interval '19 hours'
            ELSE make_interval(mins => 480 + 168 * (slot - 1) + (random() * 150)::int) END) AS wall
    FROM participants_participant p JOIN studies_study s ON s.id = p.study_id JOIN studies_samplingplan m ON m.study_id = s.id,
        generate_series(1, %(days)s) day, generate_series(1, %(slots)s) slot
    WHERE s.slug LIKE %(name)s || '%%' ORDER BY p.id, day, slot
) made
"""
# What became of each prompt that has come: three quarters are answered, most in time; of the others most were delivered.
FATES = """
CREATE TEMP TABLE fate AS
SELECT p.id, p.study_id, p.participant_id, d.id AS device, p.scheduled_at, p.expires_at,
    CASE WHEN r < 0.72 THEN 'answered' WHEN r < 0.75 THEN 'late' WHEN r < 0.77 THEN 'unfinished' WHEN r < 0.93 THEN 'missed'
         WHEN r < 0.98 THEN 'silent' ELSE 'called off' END AS became
FROM (SELECT *, random() AS r FROM sampling_prompt) p JOIN participants_device d ON d.participant_id = p.participant_id
JOIN studies_study s ON s.id = p.study_id WHERE s.slug LIKE %(name)s || '%%' AND p.scheduled_at <= %(now)s
    AND (%(since)s::timestamptz IS NULL OR p.scheduled_at > %(since)s)
"""
EVENTS = """
INSERT INTO sampling_promptevent (study_id, prompt_id, device_id, client_id, kind, code, reason, phone_at, phone_text, received_at)
SELECT study_id, id, CASE WHEN phone THEN device END, gen_random_uuid(), kind, code, '',
    CASE WHEN phone THEN scheduled_at + after END, CASE WHEN phone THEN '2026-03-02T09:30:00+01:00' ELSE '' END,
    scheduled_at + after
FROM fate JOIN (VALUES
    ('queued', '', false, interval '0', '{answered,late,unfinished,missed,silent}'::text[]),
    ('queued', '', false, interval '15 minutes', '{late,missed,silent}'),
    ('sent', '', false, interval '1 second', '{answered,late,unfinished,missed,silent}'),
    ('delivered', '', true, interval '3 seconds', '{answered,late,unfinished,missed}'),
    ('shown', '', true, interval '4 seconds', '{answered,late,unfinished,missed}'),
    ('opened', '', true, interval '8 minutes', '{answered,late,unfinished}'),
    ('started', '', true, interval '9 minutes', '{answered,late,unfinished}'),
    ('completed', '', true, interval '11 minutes', '{answered}'),
    ('uploaded', '', true, interval '12 minutes', '{answered,late}'),
    ('expired', '', true, interval '1 hour', '{missed}'),
    ('cancelled', 'study_silent', false, interval '2 days', '{"called off"}')
) AS said (kind, code, phone, after, of) ON became = ANY (of) WHERE scheduled_at + after <= %(now)s
ORDER BY fate.scheduled_at + after
"""
SUBMISSIONS = """
INSERT INTO responses_submission (study_id, participant_id, device_id, client_id, digest, survey_version_id, prompt_id, payload,
    complete, answered_at, utc_offset_minutes, received_at)
SELECT f.study_id, participant_id, device, gen_random_uuid(), repeat('0', 64), v.id, f.id, jsonb_build_object(
        'client_id', gen_random_uuid(), 'questionnaire', 'momentary', 'survey_version', 1, 'prompt', f.id,
        'answered_at', '2026-03-02T09:30:00+01:00', 'zone', 'Europe/Amsterdam', 'complete', true, 'answers',
        '{"support": 60, "stress": 30, "happy": 44, "sad": 12, "tense": 60, "tired": 71, "alone": true, "busy": 5}'::jsonb),
    became <> 'unfinished', at, 60, at
FROM fate f JOIN studies_surveyversion v ON v.study_id = f.study_id,
    LATERAL (SELECT CASE became WHEN 'late' THEN expires_at + interval '20 minutes'
             ELSE scheduled_at + interval '11 minutes' END AS at) times
WHERE became IN ('answered', 'late', 'unfinished') AND at <= %(now)s ORDER BY at
"""


def fill(
    found: Connection,
    name: str,
    *,
    studies: int,
    people: int,
    days: int,
    starts: datetime,
    now: datetime,
    since: datetime | None = None,
) -> int:
    """Studies named so, with so many people each; what became of their prompts from `since` to `now`. Returns the number of
    prompts."""
    facts: dict[str, Any] = {
        "name": name, "studies": studies, "people": people, "days": days, "slots": SLOTS, "starts": starts, "now": now,
        "since": since, "plan": PLAN,
    }  # fmt: skip
    found.execute("SET session_replication_role = replica")  # no checks of what is right by construction
    for statement in (STUDIES, PLANS, SURVEYS, PEOPLE, DEVICES):
        found.execute(statement, facts)
    made = found.execute(PROMPTS, facts).rowcount
    found.execute(FATES, facts)
    found.execute(EVENTS, facts)
    found.execute(SUBMISSIONS, facts)
    found.execute("DROP TABLE fate")
    found.execute("SET session_replication_role = origin")
    return made


def settle(found: Connection) -> None:
    """As autovacuum leaves a table after a while."""
    for table in ("studies_study", "studies_samplingplan", "participants_participant", "participants_device",
                  "sampling_prompt", "sampling_promptevent", "responses_submission"):  # fmt: skip
        found.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))
