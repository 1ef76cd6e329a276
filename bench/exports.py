"""How long an export takes, how much memory it needs, and whether intake waits for it.

    python -m bench.exports --answers 1000000 [--items 10] [--keep]

Fills a study of its own, in a database of its own (`var/bench`), by INSERT … SELECT generate_series, exports it in every
shape and format, each by `manage.py export_dataset` in a fresh process (its seconds, start included; its CPU seconds, which
other work on the machine does not change much; the most memory that it held), and meanwhile stores an answer every 50 ms as intake does, by one INSERT: the slowest of them is told.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from ema_server.embedded import attach

ROOT = Path(__file__).resolve().parents[1]
PROMPTS = 100  # for each person, five a day
OPTIONS = ["nobody", "partner", "friends", "strangers"]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    asked.add_argument("--answers", type=int, default=1_000_000, help="answered items (default: 1,000,000)")
    asked.add_argument("--items", type=int, default=10, help="items of the questionnaire (default: 10)")
    asked.add_argument("--only", help="one run alone, such as answers/spss")
    given = asked.parse_args()
    os.environ["EMA_VAR"] = str(ROOT / "var" / "bench")
    with attach(Path(os.environ["EMA_VAR"])) as urls:
        os.environ["DATABASE_URL"], os.environ["BROKER_URL"] = urls.database, urls.broker
        _fill(given.answers, given.items, urls.database)
        load = os.getloadavg()[0]
        print(f"{given.answers:,} answers, {given.items} to a questionnaire; load of the machine before: {load:.1f}")
        print(
            f"{'shape':8} {'format':8} {'seconds':>8} {'CPU s':>6} {'peak MB':>8} {'file MB':>8} {'slowest insert ms':>18} {'waiting locks':>14}"
        )
        for shape in ("prompts", "answers"):
            for format in ("csv", "parquet", "spss", "bundle"):
                if given.only in (None, f"{shape}/{format}"):
                    _run(shape, format, urls.database)


def _run(shape: str, format: str, database: str) -> None:
    with tempfile.TemporaryDirectory() as folder, psycopg.connect(database, autocommit=True) as intake:
        out = Path(folder) / "out"
        began = time.perf_counter()
        child = os.posix_spawn(
            sys.executable,
            [
                sys.executable,
                "manage.py",
                "export_dataset",
                "bench",
                "--out",
                str(out),
                "--shape",
                shape,
                "--format",
                format,
            ],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1,)],
        )
        slowest, waiting, peak = 0.0, 0, 0.0
        while True:
            pid, status, used = os.wait4(child, os.WNOHANG)
            if pid:
                break
            peak = _peak(child) or peak
            started = time.perf_counter()
            intake.execute(_ONE_MORE)
            slowest = max(slowest, time.perf_counter() - started)
            row = intake.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
            waiting = max(waiting, int(row[0]) if row else 0)
            time.sleep(0.05)
        seconds = time.perf_counter() - began
        if status:
            raise SystemExit(f"{shape} as {format} failed")
        size = out.stat().st_size / 1e6
        print(
            f"{shape:8} {format:8} {seconds:8.1f} {used.ru_utime + used.ru_stime:6.1f} {peak:8.0f} {size:8.1f} "
            f"{1000 * slowest:18.1f} {waiting:14}",
            flush=True,
        )


def _peak(process: int) -> float:
    """The most memory it has held, in MB. (What `wait4` tells counts its parent's too, from before it was another program.)"""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)


_ONE_MORE = """
    INSERT INTO responses_submission (study_id, participant_id, device_id, client_id, digest, survey_version_id, prompt_id,
        payload, complete, answered_at, utc_offset_minutes, received_at)
    SELECT study_id, participant_id, device_id, gen_random_uuid(), digest, survey_version_id, prompt_id, payload, complete,
        answered_at + interval '1 second', utc_offset_minutes, now()
    FROM responses_submission WHERE id = (SELECT min(id) FROM responses_submission)
"""


def _fill(answers: int, items: int, database: str) -> None:
    """A study of this size; one that is there is made anew."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ema_server.settings")
    django.setup()
    from django.core.management import call_command
    from django_scopes import scope, scopes_disabled

    from ema_server.reports.services import publish_plan
    from ema_server.studies.models import Study
    from ema_server.studies.services import publish_sampling_plan, publish_survey

    call_command("migrate", verbosity=0)
    call_command("migrate", database="keys", verbosity=0)
    with psycopg.connect(database, autocommit=True) as direct:
        for table in (
            "exports_export", "responses_submission", "sampling_promptevent", "sampling_prompt", "participants_device",
            "participants_participant", "studies_samplingplan", "studies_surveyversion", "reports_analysisplan", "studies_study",
        ):  # fmt: skip
            direct.execute(
                f"TRUNCATE {table} CASCADE" if not table.startswith("studies_study") else f"DELETE FROM {table}"
            )
    with scopes_disabled():
        study = Study.objects.create(
            slug="bench", title="Bench", starts_on="2026-01-05", ends_on="2026-01-24", state="live"
        )
    with scope(study=study):
        version = publish_survey(study=study, questionnaire="momentary", document=_survey(items))
        rules = [
            {
                "key": "m",
                "questionnaire": "momentary",
                "open_minutes": 60,
                "times": ["09:00", "12:00", "15:00", "18:00", "21:00"],
            }
        ]
        sampling = publish_sampling_plan(study=study, document={"rules": rules})
        publish_plan(study=study, document={"questionnaire": "momentary", "late_cutoff_minutes": 30, "models": []})
    people = max(answers // (items * PROMPTS), 1)
    names: dict[str, Any] = {
        "study": study.pk, "version": version.pk, "sampling": sampling.pk, "people": people, "prompts": PROMPTS,
    }  # fmt: skip
    with psycopg.connect(database, autocommit=True) as direct:
        for statement in _FILL:
            direct.execute(statement.replace("{answers}", _answers(items)), names)
    print(f"{people:,} people, {people * PROMPTS:,} questionnaires of {items} answers each", flush=True)


def _survey(items: int) -> dict[str, Any]:
    sliders = [
        {"name": f"x{n}", "type": "slider", "range": [0, 100], "text": f"How much of {n}?"} for n in range(items - 2)
    ]
    return {
        "title": "Bench",
        "items": [
            *sliders,
            {"name": "alone", "type": "yesno", "text": "Alone?"},
            {"name": "company", "type": "choice", "text": "Who is with you?", "options": OPTIONS},
        ],
    }


def _answers(items: int) -> str:
    """SQL for one person's answers."""
    sliders = ", ".join(f"'x{n}', floor(random() * 101)" for n in range(items - 2))
    options = ", ".join(f"'{option}'" for option in OPTIONS)
    return (
        f"jsonb_build_object({sliders}, 'alone', random() < 0.5, "
        f"'company', (ARRAY[{options}])[1 + floor(random() * {len(OPTIONS)})::int])"
    )


_FILL = (
    """INSERT INTO participants_participant (study_id, pseudonym, state, zone, test_person, enrolled_at, created_at)
       SELECT %(study)s, 'P' || lpad(n::text, 6, '0'), 'active', 'Europe/Amsterdam', false, '2026-01-04', '2026-01-04'
       FROM generate_series(1, %(people)s) n""",
    """INSERT INTO participants_device (participant_id, token_digest, platform, os_version, app_version, zone, created_at)
       SELECT id, md5(id::text) || md5(id::text), '', '', '', '', '2026-01-04' FROM participants_participant""",
    """INSERT INTO sampling_prompt (id, study_id, participant_id, plan_id, rule, questionnaire, day, slot, scheduled_at,
           expires_at, local_date, local_time, utc_offset_minutes, zone, practice)
       SELECT gen_random_uuid(), %(study)s, p.id, %(sampling)s, 'm', 'momentary', 1 + n / 5, 1 + n %% 5, at,
           at + interval '1 hour', (at AT TIME ZONE 'Europe/Amsterdam')::date, (at AT TIME ZONE 'Europe/Amsterdam')::time,
           60, 'Europe/Amsterdam', false
       FROM participants_participant p, generate_series(0, %(prompts)s - 1) n,
           LATERAL (SELECT '2026-01-05 08:00Z'::timestamptz + n / 5 * interval '1 day' + n %% 5 * interval '3 hours') t(at)""",
    """INSERT INTO responses_submission (study_id, participant_id, device_id, client_id, digest, survey_version_id, prompt_id,
           payload, complete, answered_at, utc_offset_minutes, received_at)
       SELECT p.study_id, p.participant_id, d.id, gen_random_uuid(), md5(p.id::text) || md5(p.id::text), %(version)s, p.id,
           jsonb_build_object('client_id', gen_random_uuid(), 'prompt', p.id, 'questionnaire', 'momentary', 'survey_version', 1,
               'answered_at', p.scheduled_at, 'answers', {answers}),
           true, p.scheduled_at + random() * interval '50 minutes', 60, p.scheduled_at + interval '55 minutes'
       FROM sampling_prompt p JOIN participants_device d USING (participant_id)""",
    "ANALYZE",
)  # fmt: skip


if __name__ == "__main__":
    main()
