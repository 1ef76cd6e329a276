"""A finished study's rows are stored as if phones had sent them: all of them, or none and no key either."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.core.management import CommandError
from django.db import OperationalError, connection, connections
from hypothesis import given
from hypothesis import strategies as st

from ema_server.accounts.models import User
from ema_server.common import clock
from ema_server.common.canonical import canonical_json
from ema_server.erasure.services import erase
from ema_server.imports import services
from ema_server.imports.models import FinishedStudyImport
from ema_server.ledger import audit
from ema_server.ledger.models import AuditEvent
from ema_server.participants.models import Device, Participant, PersonTable
from ema_server.reports import dataset
from ema_server.responses.content import merge, split
from ema_server.responses.models import Submission
from ema_server.sampling.models import Prompt, PromptEvent
from ema_server.studies.models import SamplingPlan, Study, SurveyVersion
from ema_server.vault.models import DataKey
from ema_server.vault.sealing import keyed_digest
from ema_server.vault.services import owner_key
from tests.server.imports.files import LONG, mapped, run, written
from tests.world import PLAN, researcher

pytestmark = pytest.mark.django_db


def frame(study: Study) -> Any:
    return dataset.load(study, clock.now(), {**PLAN, "late_cutoff_minutes": None})


def test_each_row_becomes_a_prompt_and_what_happened_to_it(tmp_path: Path) -> None:
    owner = researcher()
    said = run(written(tmp_path, LONG), title="Old study", source="A drawer; CC0", open_minutes=60)
    study = Study.objects.get(slug="old")
    assert (study.state, study.title, study.source) == ("locked", "Old study", "A drawer; CC0")
    assert [str(study.starts_on), str(study.ends_on)] == ["2024-03-04", "2024-03-05"]
    assert study.memberships.get().user == owner
    rows = frame(study)
    assert rows[["person", "day", "slot", "status"]].to_numpy().tolist() == [
        ["P1", 1, 1, "answered"],
        ["P1", 1, 2, "expired"],
        ["P1", 2, 1, "late"],
        ["P2", 1, 1, "cancelled_with_answers"],
        ["P2", 1, 2, "no_record"],
        ["P2", 2, 1, "answered"],
    ]
    assert rows["stress"].fillna(-1).tolist() == [40, -1, 60, -1, -1, 100]
    assert rows["alone"].fillna(-1).tolist() == [1, -1, 0, -1, -1, 1]
    assert rows["hour"].tolist() == [10, 14, 10, 10, 14, 10]
    assert rows["latency_minutes"].dropna().tolist() == [5, 150, 1]
    assert "2  answered" in said
    assert "1  answered late" in said
    assert "Everything has its place." in said


def test_what_is_stored_is_what_intake_would_have_stored(tmp_path: Path) -> None:
    researcher()
    run(written(tmp_path, LONG))
    for submission in Submission.objects.select_related("participant", "survey_version", "device"):
        payload = merge(submission.payload, submission.sealed)
        shown, hidden = split(payload, submission.survey_version.survey)
        assert submission.payload == shown
        assert submission.sealed == hidden
        key = owner_key(submission.participant.key_id, "answer digests")
        assert submission.digest == keyed_digest(canonical_json(payload), key=key)
        assert payload["client_id"] == str(submission.client_id)
        assert payload["prompt"] == str(submission.prompt_id)
        assert submission.device.revoked_at is not None
    notes = [merge(each.payload, each.sealed)["answers"].get("note") for each in Submission.objects.order_by("pk")]
    assert notes == ["at work", None, None, 'said "no", then \\ left']
    assert not any("note" in each.payload["answers"] for each in Submission.objects.all())
    event = PromptEvent.objects.get(kind="cancelled")
    assert (event.reason, event.phone_text) == ("imported", "2024-03-04T10:01:00+01:00")
    assert SamplingPlan.objects.get().document["imported"] is True
    assert AuditEvent.objects.get(action="study.imported").changes["rows"] == 6
    assert audit.verify(f"study {Study.objects.get().pk}") == []
    assert FinishedStudyImport.objects.get().report["states"]["answered"] == 3


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(
    st.dictionaries(texts, st.one_of(texts, st.integers(-(10**15), 10**15), st.booleans(), st.lists(texts)), max_size=5)
)
def test_the_fast_writer_spells_answers_as_digests_do(answers: dict[str, Any]) -> None:
    assert msgspec.json.Encoder(order="sorted").encode({"b": answers, "a": "é"}) == canonical_json(
        {"b": answers, "a": "é"}
    )


def test_the_same_file_has_the_same_ids_and_a_slug_is_taken_once(tmp_path: Path) -> None:
    researcher()
    file = written(tmp_path, LONG)
    run(file)
    first = set(Submission.objects.values_list("client_id", flat=True))
    with pytest.raises(CommandError, match="there is a study 'old' already"):
        run(file)
    run(file, slug="new")
    other = set(Submission.objects.filter(study__slug="new").values_list("client_id", flat=True))
    assert len(first | other) == 8


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("moment", ["the second chunk", "the end", "the commit"])
def test_a_fault_in_the_middle_leaves_nothing_and_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    researcher()
    keys = DataKey.objects.count()
    monkeypatch.setattr(services, "CHUNK", 2)

    def fail(*args: Any, **options: Any) -> Any:
        raise OSError(28, "No space left on device")

    def lost(*args: Any, **options: Any) -> Any:
        raise OperationalError("No space left on device")

    if moment == "the second chunk":
        take, taken = services._Writer.take, []

        def third(self: Any, row: Any) -> None:
            taken.append(row)
            take(self, row) if len(taken) < 4 else fail()

        monkeypatch.setattr(services._Writer, "take", third)
    elif moment == "the end":
        monkeypatch.setattr(services, "lock_data", fail)
    else:
        lock = services.lock_data

        def last(**options: Any) -> None:
            lock(**options)
            monkeypatch.setattr(connections["default"], "_commit", lost)  # the keys are committed when this is tried

        monkeypatch.setattr(services, "lock_data", last)
    with pytest.raises((OSError, OperationalError), match="No space left"):
        run(written(tmp_path, LONG))
    monkeypatch.undo()
    for model in (Study, Participant, Device, Prompt, PromptEvent, Submission, SurveyVersion, FinishedStudyImport):
        assert model.objects.count() == 0, model
    assert DataKey.objects.count() <= keys + 1  # the server's own may have been made for the audit trail
    run(written(tmp_path, LONG))
    assert Submission.objects.count() == 4


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    researcher()
    file = written(tmp_path, LONG)
    kept = services._person_table
    digests = iter(["one", "two"])
    monkeypatch.setattr("ema_server.imports.tables.Table.digest", lambda self: next(digests))
    with pytest.raises(CommandError, match="changed while it was imported"):
        run(file)
    assert kept is services._person_table
    assert Study.objects.count() == 0


def test_without_a_clock_days_and_slots_are_kept_and_nothing_is_said_of_hours(tmp_path: Path) -> None:
    researcher()
    rows = "".join(
        f"{p},{d},{s},{50 + d + s if (d + s) % 3 else ''},{20 + int(p)}\n"
        for p in "123"
        for d in (1, 2)
        for s in (1, 2, 3)
    )
    file = written(tmp_path, f"id,day,beep,happy,age\n{rows}")
    mapping = mapped(tmp_path, {"person": "id", "slot": "beep"})
    said = run(file, map=mapping, outcome=None)
    study = Study.objects.get()
    found = frame(study)
    assert found[["day", "slot"]].drop_duplicates().to_numpy().tolist() == [[d, s] for d in (1, 2) for s in (1, 2, 3)]
    assert found["happy"].notna().sum() == 12
    assert PersonTable.objects.get().rows["2"] == {"age": 22}
    assert "no clock" in said
    assert "the same on all rows of a person" in said
    assert frame(study)["age"].tolist() == [float(20 + int(p)) for p in found["person"]]


def test_practice_test_people_waves_and_questionnaires_are_kept_apart(tmp_path: Path) -> None:
    researcher()
    file = written(
        tmp_path,
        "person,scheduled_at,questionnaire,practice,wave,mood,slept\n"
        "A,2024-03-04 09:00,Morning diary,,1,,7\n"
        "A,2024-03-04 09:00,momentary,yes,1,3,\n"
        "A,2024-03-04 12:00,momentary,no,1,4,\n"
        "A,2024-09-04 12:00,momentary,no,2,5,\n"
        "B,2024-03-04 12:00,momentary,no,1,2,\n",
    )
    run(file, map=mapped(tmp_path, {"test_persons": ["B"]}))
    assert set(SurveyVersion.objects.values_list("questionnaire", flat=True)) == {"morning-diary", "momentary"}
    found = frame(Study.objects.get())
    assert found[found["practice"]].shape[0] == 1
    assert set(found[found["test_person"]]["person"]) == {"B"}
    assert found[found["questionnaire"] == "momentary"]["day"].tolist() == [1, 1, 185, 1]
    assert set(Prompt.objects.values_list("rule", flat=True)) == {"morning-diary-1", "momentary-1", "momentary-2"}


def test_a_given_questionnaire_judges_answers_as_intake_does(tmp_path: Path) -> None:
    researcher()
    survey = {
        "title": "Now",
        "items": [
            {"name": "stress", "type": "slider", "range": [0, 50], "text": "Stress?"},
            {
                "name": "why",
                "type": "choices",
                "options": ["work", "home"],
                "text": "Why?",
                "show_if": "stress > 20",
                "required": False,
            },
        ],
    }
    file = written(
        tmp_path,
        "person,scheduled_at,status,stress,why,colour\n"
        "A,2024-03-04 09:00,answered,30,work|home,red\n"
        "A,2024-03-04 12:00,answered,80,,\n"
        "A,2024-03-04 15:00,answered,,,\n"
        "A,2024-03-04 18:00,answered,10,,\n",
    )
    given_survey = written(tmp_path, json.dumps(survey), "survey.json")
    said = run(file, survey=given_survey, dry_run=True)
    assert "row 3: '80' 80 is outside 0 to 50." in said
    assert "row 4: an answer is required." in said
    assert "columns in 'colour'" in said
    with pytest.raises(CommandError, match="--leave-out answers,cells,columns"):
        run(file, survey=given_survey)
    assert Study.objects.count() == 0
    run(file, survey=given_survey, leave_out="answers,cells,columns")
    assert [each.payload["answers"] for each in Submission.objects.order_by("pk")] == [
        {"stress": 30, "why": ["work", "home"]},
        {"stress": 10},
    ]
    report = FinishedStudyImport.objects.get().report
    assert (report["rows"], report["left_out"]) == (4, 2)


def test_the_night_is_planned_with_outcome_and_predictor(tmp_path: Path) -> None:
    researcher()
    file = written(
        tmp_path, LONG.replace(",note", ",support").replace("at work", "3").replace('"said ""no"", then \\ left"', "4")
    )
    with pytest.raises(CommandError, match="go together"):
        run(file, outcome="stress")
    with pytest.raises(
        CommandError, match="'mood' is no number that any questionnaire asks; momentary has stress, alone, support"
    ):
        run(file, outcome="mood", predictor="stress")
    said = run(file, outcome="alone", predictor="stress")
    assert "manage.py run_night --study old" in said
    plan = Study.objects.get().analysis_plans.get().document
    model = plan["models"][0]
    assert (plan["mode"], plan["prompts_per_day"], model["family"]) == ("final", 2, "binomial")
    # No weekend: there is none in the file. No time of day: the slots were counted, and the missed may not be there.
    assert model["formula"] == "alone ~ within(stress) + between(stress) + day + (1 + within(stress) | person)"


def test_a_rhythm_of_the_day_is_a_term_as_far_as_the_file_tells_it(tmp_path: Path) -> None:
    researcher()

    def formula(slug: str, header: str, row: str, *, hours: tuple[int, ...], days: int = 8) -> str:
        lines = [
            row.format(
                person=person,
                day=day,
                date=f"2024-03-{day + 3:02d}",
                slot=slot,
                hour=hour,
                x=day % 3 + slot,
                y=(day + slot) % 4,
            )
            for person in ("a", "b")
            for day in range(1, days)
            for slot, hour in enumerate(hours, start=1)
        ]
        file = written(tmp_path, "\n".join([header, *lines, ""]), f"{slug}.csv")
        run(file, slug=slug, outcome="y", predictor="x")
        return str(Study.objects.get(slug=slug).analysis_plans.get().document["models"][0]["formula"])

    fixed, nested = "y ~ within(x) + between(x) + ", "(1 + within(x) | person) + (1 | person:day)"
    clock = ("person,scheduled_at,x,y", "{person},{date} {hour:02d}:00,{x},{y}")
    assert formula("often", *clock, hours=(9, 13, 18)) == f"{fixed}day + weekend + sin24 + cos24 + {nested}"
    slots = ("person,scheduled_at,slot,x,y", "{person},{date} {hour:02d}:00,{slot},{x},{y}")
    assert formula("twice", *slots, hours=(9, 18)) == f"{fixed}day + weekend + C(slot) + {nested}"
    no_clock = ("person,day,slot,x,y", "{person},{day},{slot},{x},{y}")
    assert formula("beeps", *no_clock, hours=(1, 2, 3)) == f"{fixed}day + C(slot) + {nested}"
    assert formula("daily", *no_clock, hours=(1,)) == f"{fixed}day + (1 + within(x) | person)"
    assert formula("one-day", *clock, hours=(9, 13, 18), days=2) == f"{fixed}sin24 + cos24 + {nested}"


def test_only_somebody_who_is_here_can_own_it(tmp_path: Path) -> None:
    file = written(tmp_path, LONG)
    with pytest.raises(CommandError, match="no researcher yet"):
        run(file)
    first, second = researcher(), researcher()
    with pytest.raises(CommandError, match="--owner: say to whom"):
        run(file)
    with pytest.raises(CommandError, match=r"nobody here has the address 'x@example.org'"):
        run(file, owner="x@example.org")
    run(file, owner=second.email)
    assert Study.objects.get().memberships.get().user == second != first
    assert User.objects.count() == 2


def test_a_dry_run_stores_nothing_and_tells_machines_as_json(tmp_path: Path) -> None:
    said = json.loads(run(written(tmp_path, LONG), dry_run=True, json=True))
    assert said["states"] == {"answered": 3, "expired": 1, "cancelled with answers": 1, "no_record": 1}
    assert said["items"] == {
        "momentary": {
            "stress": "integers, 10 to 100",
            "alone": "no, yes",
            "note": "texts, sealed under each person's key",
        }
    }
    assert Study.objects.count() == 0


def test_a_prompt_cancelled_at_an_unknown_time_was_asked_all_the_same(tmp_path: Path) -> None:
    researcher()
    run(written(tmp_path, LONG.replace("cancelled,2024-03-04T10:01:00+01:00,10", "cancelled,,")))
    assert (frame(Study.objects.get())["status"] == "cancelled").sum() == 1


def test_a_column_that_says_who_somebody_is_comes_in_only_if_it_is_ignored(tmp_path: Path) -> None:
    researcher()
    rows = "".join(
        f"{p},2024-03-0{d} 10:00,{d + int(p)},p{p}@example.org,{30 + int(p)}\n" for p in "12" for d in (4, 5, 6)
    )
    file = written(tmp_path, f"person,scheduled_at,mood,email,Age in years\n{rows}")
    with pytest.raises(CommandError, match="--leave-out columns"):
        run(file)
    run(file, map=mapped(tmp_path, {"ignore": ["email"]}))
    assert PersonTable.objects.get().rows == {"1": {"age_in_years": 31}, "2": {"age_in_years": 32}}


PLACES = "person,scheduled_at,test_person,place\n" + "".join(
    f"{person},2024-03-0{day} {hour}:00,,{place}\n"
    for person in ("A", "B", "C", "D")
    for day, hour, place in ((4, 10, "home"), (4, 14, "work "), (5, 10, "home"), (5, 14, "work"))
)


def test_what_three_people_gave_is_an_option(tmp_path: Path) -> None:
    researcher()
    run(written(tmp_path, PLACES))
    item = SurveyVersion.objects.get().document["items"][0]
    assert (item["type"], item["options"]) == ("choice", ["home", "work"])


@pytest.mark.parametrize("givers", [("A",), ("A", "B"), ("A", "B", "a"), ("A", "B", "T")])
def test_what_few_people_wrote_is_sealed_and_gone_with_them(tmp_path: Path, givers: tuple[str, ...]) -> None:
    researcher()
    rows = "".join(
        f"{person},2024-03-06 10:00,{'yes' if person == 'T' else ''},with aunt Zuzanna\n" for person in givers
    )
    words = {"person": {"column": "person", "words": {"a": "A"}}, "repeats": "reissued"}
    run(written(tmp_path, PLACES + rows), map=mapped(tmp_path, words))
    assert "an option is what 3 people gave" in json.dumps(FinishedStudyImport.objects.get().report)
    study = Study.objects.get()
    assert SurveyVersion.objects.get().document["items"][0]["type"] == "text"
    for person in study.participants.filter(pseudonym__in=givers):
        erase(participant=person, now=clock.now())
    assert not _tables_that_hold("Zuzanna")


def _tables_that_hold(text: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_stat_user_tables")
        tables = [name for (name,) in cursor.fetchall()]
        found = []
        for table in tables:
            cursor.execute(f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE %s', [f"%{text}%"])
            found += [table] if cursor.fetchone()[0] else []
    return found
