"""Questionnaires as files: the schema that is published, and the commands that check and publish."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.test import Client
from django_scopes import scopes_disabled

from ema_server.reports.services import lock_plan
from ema_server.studies.services import publish_survey
from ema_server.surveys import examples
from ema_server.surveys.schema import JSON_SCHEMA
from tests.world import NOW, SURVEY, live_study

ROOT = Path(__file__).resolve().parents[3]


def test_the_schema_is_served_to_everybody_and_lies_in_the_docs() -> None:
    answer = Client().get("/api/v1/survey-schema")
    assert answer.status_code == 200
    assert answer.json() == JSON_SCHEMA
    kept = ROOT / "docs" / "survey.schema.json"
    assert json.loads(kept.read_text(encoding="utf-8")) == JSON_SCHEMA, "write docs/survey.schema.json anew"


def check(*words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process without any database."""
    env = {**os.environ, "DATABASE_URL": "postgresql://nobody:x@127.0.0.1:1/none"}
    return subprocess.run(
        [sys.executable, "manage.py", "check_survey", *words],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_check_survey_tells_every_fault_with_its_line_and_needs_no_database(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(
        '{"title": "t",\n "items": [\n  {"name": "a", "type": "likert", "text": "A?"},\n  {"name": "a", "type": "x"}\n ]}'
    )
    answer = check(str(file))
    assert answer.returncode == 1
    assert "mine: line 3: items[0] (a).range:" in answer.stdout
    assert "mine: line 4: items[1] (a).type:" in answer.stdout
    assert "Traceback" not in answer.stderr


def test_check_survey_reads_a_sound_one_through(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(examples.MOMENTARY, encoding="utf-8")
    out = StringIO()
    call_command("check_survey", str(file), "--preview", "--language", "nl", stdout=out)
    for words in (
        "mine: no faults, 6 items, 1 scales.",
        "2 / 4",
        "Hoe opgewekt voelt u zich?",
        "○ Niemand",
        "U antwoordde: ….",
    ):
        assert words in out.getvalue()
    with pytest.raises(CommandError, match="the questionnaire's languages are en, nl"):
        call_command("check_survey", str(file), "--preview", "--language", "ar", stdout=out)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none.json", None, "No such file"),
        ("bytes.json", b"\xff\xfe{", "bytes.json: "),
        ("other.bin", b"\x00\x01", "other.bin: "),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str, content: bytes | None, told: str) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CommandError, match=told):
        call_command("check_survey", str(file), stdout=StringIO())


def run(*words: str) -> str:
    out = StringIO()
    call_command("publish_survey", *words, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_publish_survey_says_what_changes_and_publishes_when_told_to(tmp_path: Path) -> None:
    study = live_study(slug="mine")
    file = tmp_path / "new.json"
    document = json.loads(json.dumps(SURVEY))
    document["items"][0]["text"] = "How supported?"
    file.write_text(json.dumps(document))
    words = ("mine", str(file), "--questionnaire", "momentary")
    said = run(*words)
    assert "Item support: the text is reworded: “Support?” → “How supported?”" in said
    assert "Nothing was published; say --yes to do it." in said
    assert study.survey_versions.count() == 1
    assert "Version 2 of momentary is published." in run(*words, "--yes")
    assert "Version 2 of momentary is this document already." in run(*words, "--yes")
    assert "evening is new: 3 items." in run("mine", str(file), "--questionnaire", "evening")
    with pytest.raises(CommandError, match="There is no study 'theirs'; there are: mine"):
        run("theirs", str(file), "--questionnaire", "momentary")
    with pytest.raises(CommandError, match="cannot be a questionnaire's short name"):
        run("mine", str(file), "--questionnaire", "a b")


@pytest.mark.django_db
def test_publish_survey_refuses_faults_and_what_a_locked_plan_uses(tmp_path: Path) -> None:
    study = live_study(slug="mine")
    lock_plan(plan=study.analysis_plans.get(), now=NOW)
    file = tmp_path / "new.json"
    words = ("mine", str(file), "--questionnaire", "momentary", "--yes")
    file.write_text('{"title": "t", "items": []}')
    with pytest.raises(CommandError, match="line 1: items: a questionnaire needs"):
        run(*words)
    document = json.loads(json.dumps(SURVEY))
    document["items"][1]["range"] = [0, 10]
    file.write_text(json.dumps(document))
    with pytest.raises(CommandError, match="analysis plan v1 is locked and uses 'stress'"):
        run(*words)
    assert study.survey_versions.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_plan_is_not_locked_while_a_questionnaire_is_published_that_lacks_what_it_uses() -> None:
    study = live_study()

    def lock() -> None:
        try:
            with scopes_disabled():
                lock_plan(plan=study.analysis_plans.get(), now=NOW)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            publish_survey(study=study, questionnaire="momentary", document={**SURVEY, "items": SURVEY["items"][:1]})
            locking = pool.submit(lock)
            with pytest.raises(TimeoutError):
                locking.result(0.5)
            assert study.analysis_plans.get().locked_at is None
        locking.result(20)
