"""Workbooks that are refused before anything in them is read as a form."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from ema_server.surveys.exchange import CannotRead, read_file, workbooks
from tests.server.surveys.exchange.forms import repacked, workbook

FORM = workbook([["type", "name", "label"], ["text", "a", "A"]])
OLD = (Path(__file__).parent / "outdoors.xls").read_bytes()


def _types(content: bytes) -> bytes:
    with ZipFile(BytesIO(content)) as parts:
        return parts.read("[Content_Types].xml").replace(b"sheet.main+xml", b"sheet.macroEnabled.main+xml")


def _zip(*names: str) -> bytes:
    file = BytesIO()
    with ZipFile(file, "w") as parts:
        for name in names:
            parts.writestr(name, "x")
    return file.getvalue()


REFUSED = {
    "macros": (repacked(FORM, **{"xl/vbaProject.bin": b"x"}), "macros"),
    "a macro-enabled type": (repacked(FORM, **{"[Content_Types].xml": _types(FORM)}), "macro-enabled"),
    "links to other files": (
        repacked(FORM, **{"xl/externalLinks/externalLink1.xml": b"<x/>"}),
        "linked to other files",
    ),
    "a data connection": (repacked(FORM, **{"xl/connections.xml": b"<x/>"}), "linked to other files or data"),
    "a zip bomb": (repacked(FORM, **{"xl/media/image1.png": b"\0" * 50_000_000}), "50 MB unpacked"),
    "many parts": (repacked(FORM, **{f"xl/{n}": b"" for n in range(1001)}), "parts"),
    "entities": (
        repacked(FORM, **{"xl/sharedStrings.xml": b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'}),
        "declares entities",
    ),
    "entities in UTF-16": (
        repacked(FORM, **{"xl/sharedStrings.xml": '<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'.encode("utf-16")}),
        "declares entities",
    ),
    "another archive": (_zip("word/document.xml", "[Content_Types].xml"), "no Excel workbook"),
    "half a file": (FORM[: len(FORM) // 2], "damaged"),
    "a broken sheet": (repacked(FORM, **{"xl/worksheets/sheet1.xml": b"<x"}), "cannot be read"),
    "old, with macros": (OLD + "_VBA_PROJECT".encode("utf-16-le"), "macros"),
    "encrypted": (OLD[:512] + "EncryptedPackage".encode("utf-16-le"), "encrypted"),
    "half an old file": (OLD[:2000], "damaged"),
    "old, of something else": (workbooks.OLE + b"\0" * 600, "damaged"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_workbook_is_refused_for(what: str) -> None:
    content, told = REFUSED[what]
    with pytest.raises(CannotRead) as refused:
        read_file("form.xlsx", content)
    assert told in refused.value.detail


def test_what_is_declared_too_small_is_no_way_round_the_limit() -> None:
    """A part that says it has 10 bytes and has 50 MB is read as 10 bytes, and its checksum then tells."""
    file = BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as parts:
        parts.writestr("[Content_Types].xml", "<x/>")
        parts.writestr("xl/workbook.xml", b" " * 50_000_000)
    content = file.getvalue().replace((50_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(CannotRead, match="damaged"):
        read_file("form.xlsx", content)
