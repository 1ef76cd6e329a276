"""Run the casebook's chapters in place, from top to bottom, so that each shows what its code says today.

    PYTHONPATH=. .venv/bin/python docs/casebook/remake.py [NN …]

Without numbers all chapters are run. No kernel is started: each chapter runs here, in a namespace of its own.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import altair as alt
import nbformat
import numpy as np
import pandas as pd
import vl_convert

HERE = Path(__file__).resolve().parent
PPI = 96
WIDEST = 60_000
"""Bytes of one picture: a chapter is read on a page, not downloaded."""


def chapters(numbers: list[str] | None = None) -> list[Path]:
    """The notebooks, in order; with `numbers` only those whose name begins with one of them."""
    found = sorted(HERE.glob("[0-9][0-9]-*.ipynb"))
    return [path for path in found if not numbers or path.name[:2] in {n.zfill(2) for n in numbers}]


def executed(
    notebook: nbformat.NotebookNode, picture: Callable[[Any], str]
) -> nbformat.NotebookNode:
    """The notebook with its outputs. `picture` turns a chart into a PNG in base64 (or into anything else that a test wants)."""
    space: dict[str, Any] = {"__name__": "__main__"}
    with pd.option_context("display.precision", pd.get_option("display.precision")):
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = run_cell(cell.source, space, picture), None
                cell.metadata.pop("execution", None)
    return notebook


def run_cell(
    source: str, space: dict[str, Any], picture: Callable[[Any], str]
) -> list[nbformat.NotebookNode]:
    """What a cell prints, displays, and has as its last value, in that order, as a notebook keeps it."""
    outputs: list[nbformat.NotebookNode] = []
    printed = io.StringIO()

    def flush() -> None:
        if printed.getvalue():
            outputs.append(nbformat.v4.new_output("stream", name="stdout", text=printed.getvalue()))
            printed.seek(0)
            printed.truncate()

    def display(*values: Any) -> None:
        flush()
        outputs.extend(
            nbformat.v4.new_output("display_data", data=bundle(value, picture)) for value in values
        )

    space["display"] = display
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), space)
        if isinstance(last, ast.Expr) and not source.rstrip().endswith(";"):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), space)
            if value is not None:
                display(value)
        elif last is not None:
            exec(compile(ast.Module([last], []), "<cell>", "exec"), space)
    flush()
    return outputs


def bundle(value: Any, picture: Callable[[Any], str]) -> dict[str, str]:
    """A value in the forms in which a notebook stores it."""
    if isinstance(value, alt.TopLevelMixin):
        return {"image/png": picture(value), "text/plain": "alt.Chart(...)"}
    html = getattr(value, "_repr_html_", None)
    return {"text/plain": repr(value)} | ({"text/html": html()} if html is not None else {})


def png(chart: alt.TopLevelMixin) -> str:
    """A chart as a static picture (PNG in base64), which also a page without scripts shows."""
    packed = with_palette(vl_convert.vegalite_to_png(chart.to_json(), ppi=PPI))
    if len(packed) > WIDEST:
        raise SystemExit(
            f"a picture of {len(packed):,} bytes; make it smaller or draw fewer marks (limit {WIDEST:,})"
        )
    return base64.b64encode(packed).decode()


def with_palette(image: bytes) -> bytes:
    """The renderer's PNG with at most 256 colours: a quarter of its size, and no difference that an eye sees.

    The renderer writes red, green, blue and opacity, each row as differences to the pixel before (filter 1 of the PNG format).
    """
    parts = list(_parts(image))
    width, height = struct.unpack(">II", parts[0][1][:8])
    rows = np.frombuffer(
        zlib.decompress(b"".join(body for kind, body in parts if kind == b"IDAT")), np.uint8
    )
    rows = rows.reshape(height, 1 + 4 * width)
    if not (rows[:, 0] == 1).all():
        raise ValueError("the renderer filters its rows in another way than expected")
    pixels = np.cumsum(rows[:, 1:].reshape(height, width, 4), axis=1, dtype=np.uint8)[
        ..., :3
    ].astype(int)
    for step in (1, 5, 15, 17, 51):  # divisors of 255, so that black and white stay what they are
        colours = (pixels + step // 2) // step * step @ [65536, 256, 1]
        palette, index = np.unique(colours, return_inverse=True)
        if len(palette) <= 256:
            break
    table = np.stack([palette >> 16, palette >> 8 & 255, palette & 255], axis=1).astype(np.uint8)
    lines = np.zeros((height, 1 + width), np.uint8)
    lines[:, 1:] = index.reshape(height, width)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        (b"PLTE", table.tobytes()),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    ]
    return image[:8] + b"".join(_chunk(kind, body) for kind, body in chunks)


def _parts(image: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk of a PNG."""
    at = 8
    while at < len(image):
        (length,) = struct.unpack(">I", image[at : at + 4])
        yield image[at + 4 : at + 8], image[at + 8 : at + 8 + length]
        at += 12 + length


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


if __name__ == "__main__":
    for path in chapters(sys.argv[1:]):
        nbformat.write(executed(nbformat.read(path, as_version=4), png), path)
        print(f"{path.name}: {path.stat().st_size:,} bytes")
