"""The files of one import as one table: same columns, rows with their number, read as often as needed in constant memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ema_server.common.csv_rows import CsvFault, open_csv


class Table:
    """`for cells in table.rows()`; `where(n)` says where the n-th row stands."""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        encoding: str | None = None,
        delimiter: str | None = None,
        short_rows: bool = False,
    ) -> None:
        self.paths = list(paths)
        self._how = {"encoding": encoding, "delimiter": delimiter, "short_rows": short_rows}
        self.header: list[str] = []
        self.described = ""
        self._starts: list[int] = []  # how many rows come before each file, as far as it was read
        self._numbers: list[tuple[int, int]] = []  # (n-th row, what is added to it to get the row in its file)
        for path in self.paths:
            with self._open(path) as rows:
                if not self.header:
                    self.header, self.described = rows.header, rows.described()
                elif rows.header != self.header:
                    other = next((name for name in rows.header if name not in self.header), None)
                    missing = next((name for name in self.header if name not in rows.header), None)
                    what = (
                        f"has the column {other!r}"
                        if other
                        else f"has no column {missing!r}"
                        if missing
                        else "has its columns in another order"
                    )
                    raise CsvFault(
                        f"{path.name} {what}; files of one import have the same columns as {self.paths[0].name}."
                    )

    @property
    def size(self) -> int:
        return sum(path.stat().st_size for path in self.paths)

    def digest(self) -> str:
        """SHA-256 of all files, one after the other."""
        found = hashlib.sha256()
        for path in self.paths:
            with path.open("rb") as file:
                while part := file.read(1 << 20):
                    found.update(part)
        return found.hexdigest()

    def rows(self) -> Iterator[list[str]]:
        count, numbers = 0, []
        for place, path in enumerate(self.paths):
            with self._open(path) as rows:
                shift: tuple[int, int] | None = None
                for number, cells in rows:
                    if shift != (place, number - count):  # a new file, or rows of empty cells were passed over
                        shift = (place, number - count)
                        numbers.append((count, *shift))
                        self._numbers_of = numbers
                    count += 1
                    yield cells

    def where(self, nth: int) -> str:
        """The row as a spreadsheet shows it, with the file's name where there are several."""
        place, shift = next((place, shift) for start, place, shift in reversed(self._numbers_of) if start <= nth)
        row = f"row {nth + shift}"
        return row if len(self.paths) == 1 else f"{self.paths[place].name} {row}"

    def _open(self, path: Path):  # type: ignore[no-untyped-def]
        try:
            return open_csv(path, **self._how)  # type: ignore[arg-type]
        except CsvFault as fault:
            if len(self.paths) > 1:
                raise CsvFault(f"{path.name}: {fault.detail}") from None
            raise
        except OSError as error:
            raise CsvFault(f"{path}: cannot be read ({error.strerror}).") from None
