"""The students' file through the import's door: the night finds what it finds on the same people's phones."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from django.core.management import call_command

import analysis
from ema_server.accounts.models import User
from ema_server.common import clock
from ema_server.demo import services, student_life
from ema_server.demo.replay import replay
from ema_server.reports import dataset
from ema_server.reports.services import produce_report, publish_plan
from ema_server.sampling.models import PromptEvent
from ema_server.studies.models import Study

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path(os.environ.get("EMA_REFERENCE") or ROOT.parent / "shared" / "reference")
STUDENTS = REFERENCE / "data" / student_life.FILE
NO_CLOCK = REFERENCE / "data" / "dejonckheere2019.csv"
DIARY = REFERENCE / "data" / "flueckiger2014.csv"
IRREGULAR = REFERENCE / "data" / "heino2021.csv"
OTHER_ORDER = 1e-10  # people are summed in another order: their names sort otherwise
MAPS = ROOT / "docs" / "imports"

pytestmark = pytest.mark.django_db(transaction=True)


def imported(file: Path, slug: str, *more: str) -> Study:
    call_command("import_study", str(file), "--slug", slug, *more, stdout=open(os.devnull, "w"))  # noqa: SIM115
    return Study.objects.get(slug=slug)


@pytest.mark.skipif(not STUDENTS.is_file(), reason=f"{student_life.FILE} is not in EMA_REFERENCE")
def test_the_students_file_is_read_as_their_phones_were(live_server: Any) -> None:
    owner = User.objects.create_user("owner@example.org", "correct horse battery")
    demo = student_life.study(STUDENTS)
    replay(demo.slug, services.set_up(demo, researcher=owner, now=clock.now()), address=live_server.url)
    services.date_back(demo)
    phones = Study.objects.get(slug=demo.slug)
    files = imported(
        STUDENTS, "students", "--map", str(MAPS / "student-life.map.json"),
        "--survey", str(MAPS / "student-life.survey.json"),
    )  # fmt: skip

    theirs = dataset.load(phones, clock.now(), demo.plan)
    ours = dataset.load(files, clock.now(), demo.plan)
    ours["person"] = ours["person"].astype(int).map("P{:02d}".format)
    index = ["person", "day", "slot"]
    theirs, ours = theirs.set_index(index).sort_index(), ours.set_index(index).sort_index()

    # The file has no row for 85 prompts that were planned; nothing else is missing, and the rows agree.
    assert len(theirs) - len(ours) == 85
    assert set(theirs.loc[theirs.index.difference(ours.index), "status"]) == {"no_record"}
    theirs = theirs.loc[ours.index]
    same = ["status", "used", "reissues", "repeats", "answered_at", "held_items", *student_life.ITEMS]
    pd.testing.assert_frame_equal(ours[same], theirs[same])
    assert PromptEvent.objects.filter(study=files, phone_at=None, phone_text__startswith="1970").count() == 13

    # Where a phone abroad was first asked by Dutch time, the file has the wall's own hour: the moment is the same.
    moved = ours["scheduled_local"] != theirs["scheduled_local"]
    assert 0 < moved.sum() < 150
    assert (ours.loc[~moved, "scheduled_at"] == theirs.loc[~moved, "scheduled_at"]).mean() > 0.99

    night = clock.now().date()
    publish_plan(study=files, document=demo.plan)
    results = [
        produce_report(study=study, night=night, now=clock.now()).results["models"][0] for study in (phones, files)
    ]
    for part in ("within", "between"):
        for name in ("estimate", "se", "df", "lower", "upper"):
            assert results[1][part][name] == pytest.approx(results[0][part][name], rel=OTHER_ORDER), (part, name)
        assert results[1][part]["sentence"] == results[0][part]["sentence"]


@pytest.mark.skipif(not NO_CLOCK.is_file(), reason=f"{NO_CLOCK.name} is not in EMA_REFERENCE")
def test_a_study_without_a_clock_comes_in_by_day_and_beep(tmp_path: Path) -> None:
    User.objects.create_user("owner@example.org", "correct horse battery")
    mapping = tmp_path / "map.json"
    mapping.write_text(json.dumps({"person": "id", "slot": "beep", "ignore": ["counter"]}))
    study = imported(
        NO_CLOCK,
        "bipolarity",
        "--zone",
        "Europe/Brussels",
        "--map",
        str(mapping),
        "--outcome",
        "stressed",
        "--predictor",
        "happy",
    )
    plan = study.analysis_plans.get().document
    assert plan["models"][0]["formula"] == (
        "stressed ~ within(happy) + between(happy) + day + C(slot) + (1 + within(happy) | person) + (1 | person:day)"
    )
    assert plan["models"][0]["df"] == "kenward-roger"
    frame, source = dataset.load(study, clock.now(), plan), pd.read_csv(NO_CLOCK)
    assert (len(frame), frame["used"].sum()) == (9800, source["happy"].notna().sum())
    assert frame.groupby("person")[["day", "slot"]].max().drop_duplicates().to_numpy().tolist() == [[14, 7]]
    theirs = source.assign(person=source["id"].astype(str)).set_index(["person", "day", "beep"]).sort_index()
    ours = frame.set_index(["person", "day", "slot"]).sort_index().rename_axis(theirs.index.names)
    columns = ["happy", "relaxed", "sad", "angry", "stressed", "cesd_mean", "era"]
    pd.testing.assert_frame_equal(ours[columns], theirs[columns], check_dtype=False)
    report = produce_report(study=study, night=clock.now().date(), now=clock.now())
    assert report.results["models"][0]["fit_sound"]
    assert report.results["compliance"]["of_planned"] == pytest.approx(1 - 0.11204, abs=1e-5)
    for name, terms in (
        ("within_between", "within(stressed) + between(stressed) + (1 | person)"),
        ("random_slope", "within(stressed) * cesd_mean + between(stressed) + (within(stressed) | person)"),
    ):
        reference = json.loads((REFERENCE / f"b_dejonckheere_{name}.json").read_text())
        fit = analysis.lmm(f"sad ~ {terms}", frame[frame["used"]])
        found = fit.tests(df="satterthwaite")
        assert fit.log_likelihood == pytest.approx(reference["logLik"], abs=1e-6)
        for each in reference["fixed"][1:]:  # the intercept is where the between part is centred
            row = found.loc[
                each["name"]
                .replace("stressed_within", "within(stressed)")
                .replace("stressed_between", "between(stressed)")
            ]
            assert row["estimate"] == pytest.approx(each["estimate"], abs=1e-5 * each["se"])
            assert row["se"] == pytest.approx(each["se"], rel=1e-5)
            assert row["df"] == pytest.approx(each["df_satterthwaite"], rel=1e-3)


@pytest.mark.skipif(not DIARY.is_file(), reason=f"{DIARY.name} is not in EMA_REFERENCE")
def test_a_diary_without_its_missed_days_comes_in_and_says_so(tmp_path: Path) -> None:
    User.objects.create_user("owner@example.org", "correct horse battery")
    mapping = tmp_path / "map.json"
    mapping.write_text(json.dumps({"person": "id"}))
    study = imported(
        DIARY, "diary", "--zone", "Europe/Zurich", "--map", str(mapping), "--outcome", "pa", "--predictor", "sleep_quality"
    )  # fmt: skip
    plan = study.analysis_plans.get().document
    assert plan["models"][0]["formula"] == (
        "pa ~ within(sleep_quality) + between(sleep_quality) + day + (1 + within(sleep_quality) | person)"
    )
    frame, source = dataset.load(study, clock.now(), plan), pd.read_csv(DIARY)
    theirs = source.assign(person=source["id"].astype(str)).set_index(["person", "day"]).sort_index()
    ours = frame.set_index(["person", "day"]).sort_index()
    columns = [
        "sleep_quality",
        "physical_activity",
        "pa",
        "na",
        "learning_goal_achievement",
        "age",
        "high_school_grade",
    ]
    pd.testing.assert_frame_equal(ours[columns], theirs[columns], check_dtype=False)
    report = produce_report(study=study, night=clock.now().date(), now=clock.now()).results
    assert any(note.startswith("Every row of the file is answered") for note in report["notes"])
    within, between = report["models"][0]["within"]["estimate"], report["models"][0]["between"]["estimate"]
    assert within > 0 < between, "as the paper says: after better sleep a better mood"


@pytest.mark.skipif(not IRREGULAR.is_file(), reason=f"{IRREGULAR.name} is not in EMA_REFERENCE")
def test_answers_at_odd_hours_keep_their_clock(tmp_path: Path) -> None:
    User.objects.create_user("owner@example.org", "correct horse battery")
    mapping = tmp_path / "map.json"
    times = {"scheduled_at": "timestamp_utc", "answered_at": "timestamp_utc"}
    mapping.write_text(json.dumps({"person": "id", **times, "ignore": ["seq", "hours_since_first"]}))
    study = imported(
        IRREGULAR, "motivation", "--zone", "Europe/Helsinki", "--map", str(mapping),
        "--outcome", "pleasure", "--predictor", "autonomy",
    )  # fmt: skip
    plan = study.analysis_plans.get().document
    assert " + day + weekend + sin24 + cos24 + (" in plan["models"][0]["formula"]
    frame, source = dataset.load(study, clock.now(), plan), pd.read_csv(IRREGULAR, parse_dates=["timestamp_utc"])
    local = source["timestamp_utc"].dt.tz_convert("Europe/Helsinki").dt.tz_localize(None)
    source = source.assign(person=source["id"], scheduled_local=local, weekend=(local.dt.day_of_week >= 5).astype(int))
    order = ["person", "scheduled_local"]
    columns = [*order, "weekend", "pleasure", "autonomy", "relatedness"]
    pd.testing.assert_frame_equal(
        frame.sort_values(order)[columns].reset_index(drop=True),
        source.sort_values(order)[columns].reset_index(drop=True), check_dtype=False,
    )  # fmt: skip
    assert frame["used"].all()
    report = produce_report(study=study, night=clock.now().date(), now=clock.now()).results
    assert report["models"][0]["fit_sound"]
    assert report["latency"] is None, "planned and answered are one time here, which says nothing of speed"
