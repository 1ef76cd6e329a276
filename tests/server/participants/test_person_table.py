"""Baseline covariates from CSV files as labs have them: typed, matched, stored, or refused with the place."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from ema_server.common import clock
from ema_server.common.csv_rows import CsvFault, open_csv
from ema_server.erasure.services import ask_for_erasure, erase
from ema_server.ledger.models import AuditEvent
from ema_server.participants import person_table, queries
from ema_server.participants.models import Participant, PersonTable
from ema_server.participants.person_data import NobodyMatches, import_person_table
from ema_server.participants.person_table import Reading, ReadTable
from ema_server.participants.redcap import read_dictionary
from ema_server.participants.services import invite
from ema_server.reports import dataset
from ema_server.studies.models import Study
from ema_server.studies.states import StudyClosed
from tests.world import NOW, PLAN, FakePhone, live_study, researcher

pytestmark = pytest.mark.django_db

REDCAP = (
    "record_id,redcap_event_name,redcap_repeat_instrument,redcap_repeat_instance,redcap_survey_identifier,"
    "baseline_timestamp,age,sex,smokes,meds___1,meds___2,started,bmi,baseline_complete\r\n"
    "P1,baseline_arm_1,,,jo@example.org,2026-03-01 10:00:12,42,1,Yes,1,0,2026-03-04,21.5,2\r\n"
    "P1,week_4_arm_1,,,,,,,,,,,,\r\n"
    "P1,baseline_arm_1,visits,1,,,,,,,,,,\r\n"
    "P2,baseline_arm_1,,,,[not completed],,2,No,0,0,NA,24,0\r\n"
).encode("utf-8-sig")
DICTIONARY = (
    b'"Variable / Field Name","Form Name","Field Type","Field Label","Choices, Calculations, OR Slider Labels",'
    b'"Text Validation Type OR Show Slider Number","Identifier?"\n'
    b'age,baseline,text,"<b>Age</b> in years",,integer,\n'
    b'sex,baseline,radio,Sex,"1, Female | 2, Male | 3, Other",,\n'
    b'meds,baseline,checkbox,Medication,"1, Triptans | 2, Painkillers",,\n'
    b"initials,baseline,text,Initials,,,y\n"
)


def table(
    content: str | bytes, *, taken: dict[str, str] | None = None, dictionary: bytes | None = None, **said: Any
) -> ReadTable:
    known = read_dictionary(open_csv(io.BytesIO(dictionary))) if dictionary else None
    content = content if isinstance(content, bytes) else content.encode()
    return person_table.read_table(open_csv(io.BytesIO(content)), Reading(**said), taken=taken, dictionary=known)


def types(read: ReadTable) -> dict[str, str]:
    return {each.name: each.type for each in read.columns}


def fault(content: str | bytes, **said: Any) -> str:
    with pytest.raises(CsvFault) as caught:
        table(content, **said)
    return caught.value.detail


def test_a_redcap_export_is_read_as_it_comes() -> None:
    read = table(REDCAP, event="baseline_arm_1")
    assert read.rows["P1"] == {
        "age": 42, "sex": 1, "smokes": True, "meds___1": True, "meds___2": False, "started": "2026-03-04", "bmi": 21.5,
    }  # fmt: skip
    assert read.rows["P2"]["age"] is None
    assert read.rows["P2"]["started"] is None
    assert types(read) == {
        "age": "integer", "sex": "integer", "smokes": "yesno", "meds___1": "yesno", "meds___2": "yesno",
        "started": "date", "bmi": "number",
    }  # fmt: skip
    assert set(read.left_out) == {
        "redcap_repeat_instance", "redcap_survey_identifier", "baseline_timestamp", "baseline_complete",
    }  # fmt: skip
    assert read.missing["started"] == {"NA": 1}
    assert "visits (1)" in read.notes[0]
    assert read.row_numbers == {"P1": 2, "P2": 5}


def test_of_several_events_one_is_chosen() -> None:
    assert "baseline_arm_1 (2 rows), week_4_arm_1 (1 rows). Say which" in fault(REDCAP)
    assert "is not in the file; there are baseline_arm_1, week_4_arm_1" in fault(REDCAP, event="intake")


def test_a_dictionary_gives_labels_levels_and_types() -> None:
    read = table(REDCAP, event="baseline_arm_1", dictionary=DICTIONARY)
    columns = {each.name: each for each in read.columns}
    assert columns["age"].label == "Age in years"
    assert columns["sex"].levels == (("1", "Female"), ("2", "Male"), ("3", "Other"))
    assert columns["meds___2"].label == "Medication: Painkillers"
    assert read.rows["P2"]["sex"] == "2"
    labels = table("id,sex\nP1,Female\nP2,Male\n", dictionary=DICTIONARY)
    assert [row["sex"] for row in labels.rows.values()] == ["1", "2"]
    told = fault("id,sex\nP1,9\n", dictionary=DICTIONARY)
    assert told.startswith("row 2, column 'sex': '9' is not among the dictionary's choices: 1 (Female)")
    assert "'initials' (the dictionary marks it" in fault("id,initials\nP1,JD\n", dictionary=DICTIONARY)
    with pytest.raises(CsvFault, match="this is no REDCap data dictionary"):
        read_dictionary(open_csv(io.BytesIO(b"a,b\n1,2\n")))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "0", ""], "yesno"),
        (["Checked", "Unchecked"], "yesno"),
        (["1", "2"], "integer"),
        (["1,5", "2"], "number"),
        (["007", "010"], "category"),
        (["12345678901234567890"], "category"),
        (["9.3.2026", "10.3.2026"], "date"),
        (["f", "m", "f"], "category"),
        ([f"code {n}" for n in range(60)], "text"),
    ],
)
def test_types_are_found(values: list[str], kind: str) -> None:
    read = table("id;x\n" + "".join(f"P{n};{value}\n" for n, value in enumerate(values)), allow={"x"})
    assert types(read) == {"x": kind}


def test_many_different_texts_may_be_what_people_wrote_and_are_asked_about() -> None:
    text = "id,remark\n" + "".join(f"P{n},remark {n} of somebody\n" for n in range(60))
    assert "'remark' (more than 50 different texts" in fault(text)
    assert types(table(text, allow={"remark"})) == types(table(text, types={"remark": "text"})) == {"remark": "text"}


def test_types_are_said() -> None:
    assert table("id,x\nP1,1\nP2,2\n", types={"x": "category"}).rows == {"P1": {"x": "1"}, "P2": {"x": "2"}}
    assert person_table.kinds_said(["age=number"]) == {"age": "number"}
    with pytest.raises(CsvFault, match="write COLUMN=TYPE with a type of number, integer"):
        person_table.kinds_said(["age=float"])
    assert "row 3, column 'x': 'b' is not a number" in fault("id,x\nP1,1\nP2,b\n", types={"x": "number"})
    assert "the file has no column 'y'; it has id, x" in fault("id,x\nP1,1\n", types={"y": "number"})


def test_a_few_values_that_do_not_fit_are_asked_about() -> None:
    rows = "".join(f"P{n},{40 + n}\n" for n in range(9))
    told = fault(f"id,age\n{rows}P9,unknown\n")
    assert told.startswith("row 11, column 'age': 'unknown' is no number, while 9 of 10 values are.")
    assert "--missing 'unknown'" in told
    assert types(table(f"id,age\n{rows}P9,unknown\n", missing=("unknown",))) == {"age": "integer"}
    days = "".join(f"P{n},2026-03-{n + 10}\n" for n in range(9))
    assert "row 11, column 'born': 'spring' is no date" in fault(f"id,born\n{days}P9,spring\n")


def test_sentinels_are_asked_about_and_kept_until_then() -> None:
    content = "id,age\nP1,40\nP2,-99\nP3,-99\n"
    read = table(content)
    assert read.rows["P2"]["age"] == -99
    assert "age: -99 stands in 2 rows (the first is row 3)" in read.notes[0]
    assert table(content, missing=("-99",)).rows["P2"]["age"] is None


def test_levels_that_may_be_one_are_asked_about() -> None:
    assert "'Male' and 'male' are different levels" in table("id,sex\nP1,Male\nP2,male\n").notes[0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("id,x\nP1,1\nP2,2\nP1,3\n", "row 4, column 'id': 'P1' has a row already, row 2"),
        ("id,x\n,1\n", "row 2, column 'id': has no pseudonym"),
        ("id,email\nP1,x\n", "'email' (its name says so)"),
        ("id,dateOfBirth\nP1,x\n", "'dateOfBirth' (its name says so)"),
        ("id,x\nP1,jo@example.org\n", "'x' (row 2 holds an e-mail address"),
        ("id,x\nP1,+31 6 12345678\n", "'x' (row 2 holds an e-mail address or a telephone number)"),
        (f"id,x\nP1,{'word ' * 30}\n", "'x' (row 2 holds free text of 150 characters)"),
        (f"id,x\nP1,{'x' * 900_000}\n", "'x' (row 2 holds free text of 900000 characters)"),
        ("id,day\nP1,3\n", "row 1, column 'day': the data have a column of their own of the name 'day'"),
        ("id,a b,a_b\nP1,3,4\n", "row 1: 2 columns would be named 'a_b'"),
        ("id,2\nP1,3\n", "row 1, column '2': cannot be a column's name"),
        ('id,x,y\nP1,1.5,1\nP2,2,"1,5"\n', "row 3, column 'y': '1,5' is written otherwise than '1.5' in row 2"),
        ("id,x\nP1,3/4/2026\n", "say --dates dmy or --dates mdy"),
        ("id,x\nP1,1.2.3\n", "If it is a code and no number, say --type x=category"),
    ],
)
def test_what_cannot_be_a_person_table_is_refused_with_its_place(content: str, told: str) -> None:
    assert told in fault(content, taken={"day": "a column of their own"})


def test_identifying_columns_are_allowed_or_left_out_by_name() -> None:
    content = "id,drug_name,first_name,age\nP1,x,Jo,3\n"
    assert types(table(content, without=frozenset({"first_name"}))) == {"drug_name": "category", "age": "integer"}
    assert set(types(table(content, allow=frozenset({"first_name"})))) == {"drug_name", "first_name", "age"}


def test_a_heading_becomes_a_name_and_stays_the_label() -> None:
    (column,) = table("id,Age at baseline (years)\nP1,40\n").columns
    assert (column.name, column.label) == ("age_at_baseline_years", "Age at baseline (years)")


def test_pseudonyms_that_are_nearly_somebodys_are_suggested() -> None:
    read = table("id,x\nP01,1\np2,2\nP 3,3\nP4,4\nX9,5\n")
    match = person_table.matched(read, ["P1", "P2", "P3", "P4", "P5"])
    assert match.matched == ("P4",)
    assert [(each.row, each.meant) for each in match.unknown] == [(2, "P1"), (3, "P2"), (4, "P3"), (6, None)]
    assert match.without_row == ("P1", "P2", "P3", "P5")


def test_changes_between_versions_are_counted() -> None:
    before = person_table.from_rows({"P1": {"age": 40, "sex": "f"}, "P2": {"age": 50, "sex": "m"}})
    after = person_table.from_rows({"P1": {"age": 41.5, "arm": "a"}, "P3": {"age": 50, "arm": "b"}})
    found = person_table.changes(
        1,
        ([each.as_json() for each in before.columns], before.rows),
        ([each.as_json() for each in after.columns], after.rows),
    )
    assert found.in_words() == (
        "Against version 1: columns added: arm; columns gone: sex; types changed: age (integer → number); "
        "1 people more; 1 people fewer; 1 cells changed."
    )


# Stored


@pytest.fixture
def phone() -> FakePhone:
    phone = FakePhone(live_study(researcher())).enrolled()
    invite(study=phone.study, pseudonym="P2", now=NOW)
    return phone


def store(phone: FakePhone, content: str | bytes, **said: Any) -> PersonTable:
    return import_person_table(study=phone.study, table=table(content, **said), source="5" * 64, actor="user:1")


def test_a_table_is_stored_for_those_who_take_part_and_for_nobody_else(phone: FakePhone) -> None:
    stored = store(phone, "id,sex,age\nP1,f,40\nP77,secret,50\n")
    assert stored.rows == {"P1": {"sex": "f", "age": 40}}
    assert stored.columns[0]["levels"] == [{"value": "f", "label": ""}]
    assert stored.report["unknown_rows"] == [3]
    assert stored.report["without_row"] == 1
    assert "P77" not in str(stored.report)
    assert stored.source_digest not in {"", "5" * 64}
    event = AuditEvent.objects.get(action="person_table.imported")
    assert event.changes["people"] == 1
    with pytest.raises(NobodyMatches, match="column 'id': nobody of its 1 people takes part"):
        store(phone, "id,sex\nP77,f\n")


def test_the_same_table_again_is_the_version_that_is_there(phone: FakePhone) -> None:
    first = store(phone, "id,age\nP1,40\n")
    assert store(phone, "id;age\nP1;40\n").pk == first.pk
    second = store(phone, "id,age\nP1,41\n")
    assert (second.number, second.report["changes"]) == (2, "Against version 1: 1 cells changed.")
    assert PersonTable.objects.count() == 2


def test_names_of_the_data_and_of_items_are_refused(phone: FakePhone) -> None:
    taken = queries.taken_names(phone.study)
    assert taken["stress"] == "an item of the questionnaire momentary"
    with pytest.raises(CsvFault, match="the data have an item of the questionnaire momentary of the name 'stress'"):
        import_person_table(study=phone.study, rows={"P1": {"stress": 4}})


def test_the_night_reads_columns_by_their_type_whoever_has_a_row(phone: FakePhone) -> None:
    store(phone, "id,age,sex,smokes,since,group\nP2,40,2,yes,2026-03-01,b\n", types={"sex": "category"})
    frame = dataset.load(phone.study, clock.now(), PLAN)
    assert set(frame["person"]) == {"P1"}
    assert [str(frame[name].dtype) for name in ("age", "smokes")] == ["float64", "float64"]
    assert frame["age"].isna().all()
    assert all(frame[name].isna().all() and frame[name].dtype == "str" for name in ("sex", "since", "group"))
    store(phone, "id,age,sex,smokes,since,group\nP1,40,2,yes,2026-03-01,b\n", types={"sex": "category"})
    row = dataset.load(phone.study, clock.now(), PLAN).iloc[0]
    assert [row[name] for name in ("age", "sex", "smokes", "since", "group")] == [40.0, "2", 1.0, "2026-03-01", "b"]
    assert "age" not in dataset.load(phone.study, clock.now() - timedelta(hours=1), PLAN).columns


def test_erasing_a_person_leaves_neither_row_nor_level_in_any_version(phone: FakePhone) -> None:
    store(phone, "id,group\nP1,planted\nP2,b\n")
    store(phone, "id,group\nP1,planted\nP2,c\n")
    person = Participant.objects.get(pseudonym="P1")
    ask_for_erasure(participant=person, actor="server", now=clock.now())
    certificate = erase(participant=person, now=clock.now())
    assert certificate.removed["baseline rows"] == 2
    for each in PersonTable.objects.all():
        assert "planted" not in str((each.rows, each.columns, each.report))
        assert list(each.rows) == ["P2"]


def test_the_command_tells_what_it_read_and_stores_it_unless_it_is_dry(
    phone: FakePhone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "baseline.csv"
    file.write_text("id,sex,age\nP1,f,40\np2,m,NA\n")
    call_command("import_person_table", phone.study.slug, str(file), "--dry-run")
    said = capsys.readouterr().out
    assert "1 belong to participants, 1 to nobody, 1 participants have no row" in said
    assert "nobody: row 3: 'p2'; P2 is meant?" in said
    assert "integer; 1 missing" in said
    assert "Nothing was stored" in said
    assert not PersonTable.objects.exists()
    call_command("import_person_table", phone.study.slug, str(file), "--type", "age=number")
    assert PersonTable.objects.get().columns[1]["type"] == "number"
    file.write_text("id,email\nP1,x\n")
    with pytest.raises(CommandError, match=r"belong to a participant's identity[\s\S]*Nothing was stored"):
        call_command("import_person_table", phone.study.slug, str(file))
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        call_command("import_person_table", phone.study.slug, str(tmp_path / "none.csv"))


@pytest.mark.django_db
def test_nothing_is_imported_into_a_study_that_was_locked_after_it_was_read() -> None:
    study = live_study()
    Study.objects.filter(pk=study.pk).update(state=Study.State.LOCKED)
    assert study.state == Study.State.LIVE
    with pytest.raises(StudyClosed):
        import_person_table(study=study, rows={"P1": {"age": 40}})
