"""`manage.py convert_survey`."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.server.surveys.exchange.forms import dictionary, workbook

FORM = workbook([["type", "name", "label"], ["text", "a", "[bold]A[/]"], ["geopoint", "where", "Where?"]])


def convert(file: Path, *where: str) -> str:
    out = StringIO()
    call_command("convert_survey", str(file), *where, stdout=out)
    return " ".join(out.getvalue().split())


def test_a_form_becomes_a_file_with_a_report(tmp_path: Path) -> None:
    file, out = tmp_path / "mood.xlsx", tmp_path / "out.json"
    file.write_bytes(FORM)
    report = convert(file, "--out", str(out))
    assert json.loads(out.read_text())["items"][0]["text"] == "[bold]A[/]"
    assert "mood: 1 item →" in report
    assert "Not carried over as it was: 1" in report
    assert "(where)" in report


def test_each_form_of_a_dictionary_becomes_a_file(tmp_path: Path) -> None:
    file = tmp_path / "d.csv"
    file.write_bytes(dictionary({"field_name": "a", "form_name": "one"}, {"field_name": "b", "form_name": "two"}))
    convert(file, "--to", str(tmp_path / "new" / "folder"))
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["one.json", "two.json"]
    with pytest.raises(CommandError, match="holds 2 questionnaires"):
        convert(file, "--out", str(tmp_path / "one.json"))
    assert not (tmp_path / "one.json").exists()


def test_what_cannot_be_read_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(CommandError, match="none of the files"):
        convert(file, "--to", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(CommandError, match="No such file"):
        convert(tmp_path / "nowhere.xlsx", "--to", str(tmp_path / "out"))
