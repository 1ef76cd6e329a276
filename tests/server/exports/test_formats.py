"""Each format holds the rows that were read, and says what they mean."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pyreadstat
import pytest

from ema_server.common import clock
from ema_server.exports import answers, codebook, files
from ema_server.exports.contents import Contents, contents
from ema_server.exports.spss import spellings
from ema_server.exports.tabulation import Tallies
from ema_server.reports import dataset
from ema_server.studies.models import Study
from tests.server.exports.cast import FULL, LONG, crowded_study
from tests.world import PLAN, live_study

pytestmark = pytest.mark.django_db
Made = Callable[..., tuple[bytes, Contents, Tallies]]


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr(dataset, "ROWS", 30)  # several pieces
    monkeypatch.setattr(answers, "SUBMISSIONS", 3)
    return crowded_study()[0]


def made(study: Study, format: str, shape: str = "prompts", **more: Any) -> tuple[bytes, Contents, Tallies]:
    what = contents(study, shape=shape, cutoff=clock.now(), plan=PLAN, **more)
    tallies = Tallies(what.variables)
    return b"".join(files.written(what, format, tallies=tallies)), what, tallies


def rows(what: Contents) -> pd.DataFrame:
    return pd.concat([piece for piece, _ in what.pieces()], ignore_index=True)


@pytest.mark.parametrize("shape", ["prompts", "answers"])
def test_parquet_reads_back_as_it_was_with_its_labels(study: Study, shape: str) -> None:
    data, what, _ = made(study, "parquet", shape)
    table = pq.read_table(io.BytesIO(data))
    assert table.schema.metadata[b"ema.study"] == study.slug.encode()
    for each in what.variables:
        assert table.schema.field(each.name).metadata[b"label"].decode() == each.label
    back, here = table.to_pandas(), rows(what)
    for each in what.variables:
        expected = here[each.name]
        found = back[each.name]
        if each.kind == "category":
            assert list(found.cat.categories) == [str(value) for value, _ in each.levels]
        if each.kind in {"yesno", "category", "date"}:
            found = found.map(str if each.kind != "yesno" else float, na_action="ignore").astype(expected.dtype)
        pd.testing.assert_series_equal(found, expected, check_names=False, check_dtype=each.kind not in {"text"})


@pytest.mark.parametrize("shape", ["prompts", "answers"])
def test_spss_reads_back_as_it_was_with_labels_codes_and_measures(study: Study, shape: str, tmp_path: Path) -> None:
    data, what, _ = made(study, "spss", shape)
    file = tmp_path / "x.sav"
    file.write_bytes(data)
    back, meta = pyreadstat.read_sav(file)
    here, spelt = rows(what), spellings(what.variables)
    assert meta.number_rows == len(here) == len(back)
    for each in what.variables:
        name, codes = spelt[each.name].name, spelt[each.name].codes
        label = meta.column_names_to_labels[name]
        assert label == each.label.rstrip() or (label.endswith("…") and each.label.startswith(label[:-1]))
        found, expected = back[name], here[each.name]
        if each.kind == "text":
            assert found.tolist() == expected.fillna("").tolist(), name
        elif each.kind == "category":
            values = {code: value for value, code in codes.items()}
            assert found.map(values, na_action="ignore").fillna("").tolist() == expected.fillna("").tolist()
            assert meta.variable_measure[name] == "nominal"
            assert set(meta.variable_value_labels.get(name, {})) == set(codes.values())
        elif each.kind in {"moment", "local"}:
            bare = expected.dt.tz_localize(None) if each.kind == "moment" else expected
            pd.testing.assert_series_equal(
                pd.to_datetime(found).dt.round("ms").astype("datetime64[ms]"), bare.dt.round("ms").astype("datetime64[ms]"),
                check_names=False,
            )  # fmt: skip
        elif each.kind == "date":
            assert [str(value) if pd.notna(value) else "" for value in found] == expected.fillna("").tolist()
        else:
            pd.testing.assert_series_equal(found, expected.astype(float), check_names=False)


def test_spss_limits_are_kept_whatever_the_language(study: Study, tmp_path: Path) -> None:
    data, _, _ = made(study, "spss")
    (tmp_path / "x.sav").write_bytes(data)
    _, meta = pyreadstat.read_sav(tmp_path / "x.sav", metadataonly=True)
    assert meta.column_names_to_labels["calm"] == LONG.encode()[:253].decode(errors="ignore") + "…"
    assert meta.column_names_to_labels["stress"].endswith("متوت…")  # no half character
    assert meta.variable_value_labels["support"] == {-50.0: "none", 100.0: "very much"}
    assert meta.variable_value_labels["grade"] == {10.0: "10", -20.0: "-20", 30.0: "30"}
    assert meta.variable_value_labels["company"] == {1.0: "Nobody", 2.0: "Friends, “close” ones"}
    assert meta.variable_measure["calm"] == "ordinal"
    assert meta.variable_measure["stress"] == "scale"
    assert all(len(label.encode()) <= 256 for label in meta.column_labels)


def test_names_that_spss_refuses_are_changed_and_stay_apart() -> None:
    from ema_server.reports.variables import Variable

    names = ["all", "ALL", "2nd", "a b", "a-b", "ö" * 40, "ö" * 41, "x.", "_x", "", "عمر"]
    found = [each.name for each in spellings([Variable(name, "number", "") for name in names]).values()]
    assert len({name.upper() for name in found}) == len(names)
    assert all(len(name.encode()) <= 64 for name in found)
    frame = pd.DataFrame({name: [1.0] for name in found})
    pyreadstat.write_sav(frame, "/dev/null")  # refuses a name that SPSS would refuse


@pytest.mark.parametrize("format", ["csv", "parquet", "spss", "bundle"])
@pytest.mark.parametrize("shape", ["prompts", "answers"])
def test_a_study_without_rows_gives_a_file_with_its_columns(format: str, shape: str, tmp_path: Path) -> None:
    data, what, tallies = made(live_study(), format, shape)
    names = [each.name for each in what.variables]
    assert tallies.rows == 0
    if format == "csv":
        assert list(pd.read_csv(io.BytesIO(data)).columns) == names
    elif format == "parquet":
        assert pq.read_table(io.BytesIO(data)).column_names == names
    elif format == "spss":
        (tmp_path / "x.sav").write_bytes(data)
        back, _ = pyreadstat.read_sav(tmp_path / "x.sav")
        assert list(back.columns) == names
        assert len(back) == 0
    else:
        assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None


def test_the_answers_hold_everything_that_came_and_say_what_counts(study: Study) -> None:
    _, what, _ = made(study, "csv", "answers")
    here = rows(what)
    assert set(here["person"]) == {"P1", "P2"}
    assert not set(here["item"]) & {"why", "weight"}, "sealed answers only where they are asked for"
    assert here[here["person"] == "P1"]["counted"].all()
    odd = here[(here["person"] == "P2") & here["value"].notna()]
    assert odd.groupby("why")["submission"].nunique().to_dict() == {
        "no_prompt": 1, "repeat": 1, "too_late": 1, "unfinished": 1,
    }  # fmt: skip
    one = here[(here["person"] == "P1")].drop_duplicates("item").set_index("item")
    assert one.loc["alone", ["value", "number"]].tolist() == ["true", 1.0]
    assert one.loc["company", ["value", "label"]].tolist() == ["=friends", "Friends, “close” ones"]
    assert one.loc["did", ["value", "label"]].tolist() == ['["work"]', "Work"]
    assert one.loc["woke", ["value", "number"]].tolist() == ["07:30", 450.0]
    assert one.loc["grade", ["value", "number"]].tolist() == ["-20", -20.0]


def test_what_counts_among_the_answers_is_what_the_night_reads(study: Study) -> None:
    _, what, _ = made(study, "csv", "answers")
    here = rows(what)
    night = dataset.load(study, clock.now(), PLAN)
    for item in ("stress", "calm", "slept"):
        counted = here[here["counted"] & (here["item"] == item)].sort_values(["person", "scheduled_at"])
        assert counted["number"].tolist() == night[item].dropna().tolist() or item == "stress"
    assert sorted(here[here["counted"] & (here["item"] == "stress")]["number"]) == sorted(night["stress"].dropna())


def test_an_answer_to_an_item_that_was_not_shown_is_marked() -> None:
    from tests.world import FakePhone

    study = live_study(survey={"title": "T", "items": [
        {"name": "out", "type": "yesno", "text": "Out?"},
        {"name": "fun", "type": "likert", "range": [1, 5], "text": "Fun?", "show_if": "out"},
    ]})  # fmt: skip
    phone = FakePhone(study).enrolled()
    phone.submit(phone.item(0, answers={"out": False, "fun": 3}))
    _, what, _ = made(study, "csv", "answers")
    here = rows(what).set_index("item")
    assert here["counted"].to_dict() == {"out": True, "fun": False}
    assert here.loc["fun", "why"] == "not_shown"


def test_what_was_skipped_and_what_was_never_asked_stay_apart() -> None:
    from tests.world import FakePhone

    study = live_study(survey={"title": "T", "pages": [{"key": "late", "show_if": "@day >= 2"}], "items": [
        {"name": "out", "type": "yesno", "text": "Out?", "required": False},
        {"name": "fun", "type": "likert", "range": [1, 5], "text": "Fun?", "show_if": "out", "required": False, "page": "late"},
        {"name": "bed", "type": "time", "text": "Bed?", "required": False},
        {"name": "why", "type": "text", "text": "Why?", "required": False},
        {"name": "thanks", "type": "information", "text": "Thanks."},
    ]})  # fmt: skip
    phone = FakePhone(study).enrolled()
    phone.submit(
        phone.item(0, answers={"out": True}),  # day 1
        phone.item(4, answers={"out": True, "why": "secret"}),  # day 2
        phone.item(5, answers={"out": False, "bed": "23:30"}),
        phone.item(6, answers={"out": True}, complete=False),
        phone.item(None, answers={"out": True}),  # which day it was is not known
    )
    for with_text in (False, True):
        _, what, _ = made(study, "csv", "answers", with_text=with_text)
        here = rows(what)
        told = [each["why"].fillna("").tolist() for _, each in here.groupby("submission", sort=False)]
        names = [each["item"].tolist() for _, each in here.groupby("submission", sort=False)]
        by_item = sorted(zip(map(tuple, names), map(tuple, told), strict=True))
        why = ("why",) if with_text else ()
        skipped, counts = ("skipped",) if with_text else (), ("",) if with_text else ()
        assert by_item == sorted([
            (("out", "fun", "bed", *why), ("", "not_asked", "skipped", *skipped)),
            (("out", "fun", "bed", *why), ("", "skipped", "skipped", *counts)),
            (("out", "fun", "bed", *why), ("", "not_asked", "", *skipped)),
            (("out",), ("unfinished",)),
            (("out", "bed", *why), ("no_prompt", "skipped", *skipped)),
        ])  # fmt: skip
        empty = here[here["why"].isin(["skipped", "not_asked"])]
        assert empty[["value", "number", "label"]].isna().all(axis=None)
    book = codebook.as_dict(contents(study, shape="prompts", cutoff=clock.now(), plan=PLAN))
    columns = {each["name"]: each for each in book["columns"]}
    assert columns["fun"]["asked_where"] == "(@day >= 2) and (out)"
    assert columns["bed"]["note"].startswith("23:30 is 1410 and 00:30 is 30")


def test_sealed_answers_are_opened_for_whoever_asks(study: Study) -> None:
    data, what, _ = made(study, "csv", "answers", with_text=True)
    here = rows(what)
    here = here[here["value"].notna()]
    assert set(here[here["item"] == "why"]["value"]) == {FULL["why"]}
    assert set(here[here["item"] == "weight"]["number"]) == {71.5}
    assert b"'=HYPERLINK" in data


def test_erased_people_are_absent_from_every_shape(study: Study) -> None:
    from ema_server.erasure.services import ask_for_erasure
    from ema_server.participants.models import Participant

    ask_for_erasure(participant=Participant.objects.get(pseudonym="P1"), actor="server", now=clock.now())
    for shape in ("prompts", "answers"):
        data, _, tallies = made(study, "csv", shape)
        assert "P1" not in tallies.persons
        assert b"P1" not in data


def test_the_codebook_has_every_column_of_the_file_and_counts_it(study: Study) -> None:
    data, _, _ = made(study, "bundle")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = set(archive.namelist())
        book = json.loads(archive.read("codebook.json"))
        frame = pd.read_csv(archive.open("prompts.csv"))
        page = archive.read("codebook.html").decode()
        for line in archive.read("SHA256SUMS").decode().splitlines():
            digest, name = line.split("  ")
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest
            members.discard(name)
    assert members == {"SHA256SUMS"}
    columns = {each["name"]: each for each in book["columns"]}
    assert list(columns) == list(frame.columns)
    for name, each in columns.items():
        assert each["label"], name
        assert each["n"] == frame[name].notna().sum(), name
        assert each["n"] + each["missing"] == book["rows"] == len(frame)
    assert columns["stress"]["max"] == frame["stress"].max()
    assert columns["company"]["levels"][1] == {
        "value": "=friends",
        "label": "Friends, “close” ones",
        "spss": 2.0,
        "n": 9,
    }
    assert columns["support"]["texts"] == {"en": "Support?", "ar": "هل تشعر بالدعم؟"}
    assert columns["support"]["source"] == {"citation": "Made for these tests"}
    assert columns["ease"]["origin"] == "scale"
    assert columns["sex"]["origin"] == "person"
    assert 'dir="rtl"' in page
    assert "هل تشعر بالدعم؟" in page


def test_openesm_metadata_has_the_fields_of_its_files(study: Study) -> None:
    data, what, _ = made(study, "bundle")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = json.loads(archive.read("openesm.json"))
    assert found["n_participants"] == 3
    assert found["n_time_points"] == 28
    assert found["n_beeps_per_day"] == "4"
    assert found["sampling_scheme"].startswith("momentary: at 10:00, 13:00, 16:00 and 19:00 every day")
    features = {each["name"]: each for each in found["features"]}
    assert set(features) == {each.name for each in what.variables}
    assert features["calm"]["variable_type"] == "rating_scale"
    assert features["calm"]["answer_categories"] == "7"
    assert features["company"]["labels"].startswith("nobody. Nobody")


def test_the_bundle_and_single_files_hold_the_same(study: Study) -> None:
    moment = clock.now()
    what = contents(study, shape="prompts", cutoff=moment, plan=PLAN)
    bundle = b"".join(files.written(what, "bundle", tallies=Tallies(what.variables)))
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        for format, name in (("csv", "prompts.csv"), ("parquet", "prompts.parquet")):
            alone = b"".join(files.written(what, format, tallies=Tallies(what.variables)))
            assert archive.read(name) == alone
        assert archive.read("prompts.csv") == dataset.as_csv(dataset.load(study, moment, PLAN))


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="Rscript is not installed: the R script is not run")
@pytest.mark.parametrize("shape", ["prompts", "answers"])
def test_r_reads_factors_times_and_labels(study: Study, shape: str, tmp_path: Path) -> None:
    data, what, _ = made(study, "bundle", shape)
    zipfile.ZipFile(io.BytesIO(data)).extractall(tmp_path)
    here = rows(what)
    check = [
        f'source("read_{shape}.R", encoding = "UTF-8"); d <- {shape}; stopifnot(nrow(d) == {len(here)})',
        'stopifnot(inherits(d$answered_at, "POSIXct"), attr(d$answered_at, "tzone") == "Europe/Amsterdam")',
        'stopifnot(is.factor(d$status), levels(d$status)[1] == "answered within its window")',
        'stopifnot(attr(d$person, "label") == "Pseudonym of the person")',
    ]
    if shape == "prompts":
        check.append('stopifnot(d$person[1] == "\'=P3")')
        seconds = here["scheduled_at"].astype("int64").iloc[0] / 1e6
        check += [
            f"stopifnot(abs(as.numeric(d$scheduled_at[1]) - {seconds:.6f}) < 1e-3)",
            'stopifnot(identical(levels(d$company), c("Nobody", "Friends, \\u201cclose\\u201d ones")))',
            f'stopifnot(sum(d$company == "Friends, \\u201cclose\\u201d ones", na.rm = TRUE) == 9, sum(!is.na(d$since)) == {here["since"].notna().sum()})',
            'stopifnot(inherits(d$since, "Date"), attr(d$support, "labels")[["very much"]] == 100, is.logical(d$used))',
            f"stopifnot(abs(sum(d$stress, na.rm = TRUE) - {float(here['stress'].sum())!r}) < 1e-9)",
        ]
    (tmp_path / "check.R").write_text("\n".join(check) + "\n")
    for locale in ("C", "C.UTF-8"):
        ran = subprocess.run(
            ["Rscript", "--vanilla", "check.R"], cwd=tmp_path, capture_output=True, text=True, timeout=60,
            env={"LC_ALL": locale, "PATH": "/usr/bin:/bin:/usr/local/bin"},
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
