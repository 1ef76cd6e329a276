"""An export as bytes, one after another: in each format, and all of them in one ZIP. Nothing is held but a piece."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from tempfile import TemporaryFile
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import pandas as pd
import pyarrow.parquet as pq

from ema_server.common.sink import Sink
from ema_server.exports import codebook, openesm, parquet, r_script, spss
from ema_server.exports.contents import Contents
from ema_server.exports.models import Export
from ema_server.exports.readme import readme
from ema_server.exports.tabulation import Tallies
from ema_server.reports.csv_file import as_csv
from ema_server.reports.variables import Variable, typed

Progress = Callable[[int], None]  # how much of the contents' weight has been read
Format = Export.Format

ENDINGS = {Format.CSV: ".csv", Format.PARQUET: ".parquet", Format.SPSS: ".sav", Format.BUNDLE: ".zip"}
TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.SPSS: "application/x-spss-sav",
    Format.BUNDLE: "application/zip",
}
SPOOL = 64 * 1024  # bytes


def written(
    contents: Contents, format: str, *, tallies: Tallies, progress: Progress = lambda done: None
) -> Iterator[bytes]:
    """The file's bytes; `tallies` has counted all rows when they end. To be read inside the contents' snapshot."""
    if format == Format.CSV:
        return _csv(_watched(contents, tallies, progress))
    if format == Format.PARQUET:
        return parquet.written(_watched(contents, tallies, progress), contents.variables, about=contents.about)
    if format == Format.SPSS:
        return _spss(contents, tallies, progress)
    return _bundle(contents, tallies, progress)


def _watched(contents: Contents, tallies: Tallies, progress: Progress) -> Iterator[pd.DataFrame]:
    done = 0
    for piece, weight in contents.pieces():
        tallies.add(piece)
        yield piece
        done += weight
        progress(done)


def _csv(pieces: Iterator[pd.DataFrame]) -> Iterator[bytes]:
    for place, piece in enumerate(pieces):
        yield as_csv(piece, header=place == 0)


def _spss(contents: Contents, tallies: Tallies, progress: Progress) -> Iterator[bytes]:
    """The width of its texts must be known first: the rows go into an unnamed file on the way."""
    with TemporaryFile() as spool:
        wide = spss.widths(contents.variables)
        for part in parquet.written(
            _measured(_watched(contents, tallies, progress), wide), contents.variables, about={}
        ):
            spool.write(part)
        yield from _spss_of(spool, contents, tallies, wide)


def _spss_of(spool: IO[bytes], contents: Contents, tallies: Tallies, wide: dict[str, int]) -> Iterator[bytes]:
    pieces = _unpacked(spool, contents.variables)
    return spss.written(pieces, contents.variables, wide, rows=tallies.rows, title=contents.study.title)


def _measured(pieces: Iterator[pd.DataFrame], wide: dict[str, int]) -> Iterator[pd.DataFrame]:
    for piece in pieces:
        spss.widen(wide, piece)
        yield piece


def _unpacked(spool: IO[bytes], variables: list[Variable]) -> Iterator[pd.DataFrame]:
    """The pieces of a Parquet file as they were."""
    spool.seek(0)
    for batch in pq.ParquetFile(spool).iter_batches(parquet.PIECE):
        yield typed(batch.to_pandas(), variables)


class _Archive:
    """A ZIP that is handed on while it is written. Each member's SHA-256 is noted."""

    def __init__(self, contents: Contents) -> None:
        self._sink = Sink()
        self._zip = ZipFile(self._sink, "w")
        self._moment = contents.cutoff.timetuple()[:6]
        self.sums: dict[str, str] = {}

    def add(self, name: str, parts: Iterator[bytes], how: int = ZIP_DEFLATED) -> Iterator[bytes]:
        info = ZipInfo(name, self._moment)
        info.compress_type, info.external_attr = how, 0o644 << 16
        found = hashlib.sha256()
        with self._zip.open(info, "w", force_zip64=True) as member:
            for part in parts:
                found.update(part)
                member.write(part)
                yield self._sink.taken()
        self.sums[name] = found.hexdigest()
        yield self._sink.taken()

    def end(self) -> bytes:
        self._zip.close()
        return self._sink.taken()


def _bundle(contents: Contents, tallies: Tallies, progress: Progress) -> Iterator[bytes]:
    """The rows are read once: as they go into the CSV file they go into Parquet too, of which SPSS is made."""
    name, archive = contents.shape, _Archive(contents)
    wide = spss.widths(contents.variables)
    with TemporaryFile() as spool:
        shape = parquet.schema(contents.variables, contents.about)
        with pq.ParquetWriter(spool, shape, compression=parquet.COMPRESSION) as writer:

            def rows() -> Iterator[bytes]:
                pieces = _measured(_watched(contents, tallies, progress), wide)
                for place, piece in enumerate(pieces):
                    writer.write_table(parquet.table(piece, contents.variables, shape))
                    yield as_csv(piece, header=place == 0)

            yield from archive.add(f"{name}.csv", rows())
        spool.seek(0)
        yield from archive.add(f"{name}.parquet", iter(lambda: spool.read(SPOOL), b""), ZIP_STORED)
        yield from archive.add(f"{name}.sav", _spss_of(spool, contents, tallies, wide))
    book = codebook.as_dict(contents, tallies)
    texts: dict[str, Any] = {
        f"read_{name}.R": r_script.script(contents, f"{name}.csv"),
        "codebook.html": codebook.as_page(book),
        "codebook.json": codebook.as_json(book),
        "openesm.json": openesm.as_json(openesm.metadata(contents, tallies)),
        "README.txt": readme(contents, tallies),
    }
    for member, text in texts.items():
        yield from archive.add(member, iter([text.encode()]))
    sums = "".join(f"{digest}  {member}\n" for member, digest in archive.sums.items())
    yield from archive.add("SHA256SUMS", iter([sums.encode()]))
    yield archive.end()
