"""Which files may be opened as workbooks: what is refused before anything in them is read as a form."""

from __future__ import annotations

import re
import zlib
from io import BytesIO
from zipfile import BadZipFile, ZipFile

import xlrd

from ema_server.surveys.exchange.carried import CannotRead

MAX_UNPACKED = 40_000_000  # bytes in a zip; a form of a thousand questions has some 2 MB
MAX_PARTS = 1_000
MAX_CELLS = 2_000_000
ZIP = b"PK\x03\x04"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
SAVE_AS = "save it as a plain workbook (.xlsx) and import that."
_DECLARATION = re.compile(rb"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)


def check_xlsx(content: bytes) -> None:
    """Refuses what is no .xlsx, holds macros or reaches outside itself, or is larger inside than it should be."""
    try:
        with ZipFile(BytesIO(content)) as parts:
            _check_parts(parts)
    except (BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise CannotRead(f"The file is damaged, or no workbook ({error}); save it as .xlsx once more.") from error


def _check_parts(parts: ZipFile) -> None:
    infos = parts.infolist()
    names = [info.filename.replace("\\", "/").lower() for info in infos]
    if len(infos) > MAX_PARTS:
        raise CannotRead(f"The workbook has {len(infos):,} parts; at most {MAX_PARTS:,} are read.")
    unpacked = sum(info.file_size for info in infos)
    if unpacked > MAX_UNPACKED:
        raise CannotRead(
            f"The workbook has {unpacked / 1e6:,.0f} MB unpacked; at most {MAX_UNPACKED / 1e6:.0f} MB are read. "
            "Take out what is no form: pictures, data, empty formatted rows."
        )
    if "[content_types].xml" not in names or not any(name.startswith("xl/") for name in names):
        raise CannotRead("The file is a zip archive, but no Excel workbook; import a .xlsx, .xls or .csv file.")
    for name, info in zip(names, infos, strict=True):
        if name.endswith("vbaproject.bin") or name.startswith("xl/macrosheets/"):
            raise CannotRead(f"The workbook holds macros, which are refused: {SAVE_AS}")
        if name.startswith("xl/externallinks/") or name == "xl/connections.xml":
            raise CannotRead(
                f"The workbook is linked to other files or data, which is refused: break the links and {SAVE_AS}"
            )
        if name.endswith((".xml", ".rels")):
            text = parts.read(info)
            if _DECLARATION.search(text.replace(b"\0", b"")):
                raise CannotRead(
                    f"The workbook's part {info.filename} declares entities, which no spreadsheet program writes."
                )
            if name == "[content_types].xml" and b"macroenabled" in text.lower():
                raise CannotRead(f"The workbook is a macro-enabled one (.xlsm), which is refused: {SAVE_AS}")


def check_xls(content: bytes) -> None:
    """Refuses an encrypted workbook, one with macros, and what is no workbook of the old format."""
    if "EncryptedPackage".encode("utf-16-le") in content:
        raise CannotRead("The workbook is encrypted; open it with its password, and save it without one.")
    if "_VBA_PROJECT".encode("utf-16-le") in content:
        raise CannotRead(f"The workbook holds macros, which are refused: {SAVE_AS}")
    try:
        book = xlrd.open_workbook(file_contents=content, on_demand=True, ragged_rows=True, logfile=_Silent())
        cells = 0
        for number in range(book.nsheets):
            sheet = book.sheet_by_index(number)
            cells += sheet.nrows * sheet.ncols
            book.unload_sheet(number)
            if cells > MAX_CELLS:
                raise CannotRead(f"The workbook has more than {MAX_CELLS:,} cells; take out what is no form.")
    except CannotRead:
        raise
    except Exception as error:  # the old format has many ways to be broken, and xlrd as many errors
        if "encrypted" in str(error).lower():
            raise CannotRead(
                "The workbook is encrypted; open it with its password, and save it without one."
            ) from error
        raise CannotRead(f"The file is damaged, or no workbook ({error}); save it as .xlsx.") from error


class _Silent:
    """What xlrd thinks of a file is told by its errors alone."""

    def write(self, text: str) -> None:
        pass

    def flush(self) -> None:
        pass
