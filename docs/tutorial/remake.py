"""Make the tutorial anew: its diary from a known truth, then the notebook's outputs from top to bottom.

    PYTHONPATH=. .venv/bin/python docs/tutorial/remake.py

The diary is simulated, and nobody's: 60 people, 14 days, 5 prompts a day, about a quarter of them missed.
"""

from __future__ import annotations

import base64
import os
import zlib
from pathlib import Path

import nbformat
import pandas as pd
from nbclient import NotebookClient

from analysis.simulate import SupportStress, simulate_frame

HERE = Path(__file__).resolve().parent
NOTEBOOK, DIARY = HERE / "within-and-between.ipynb", HERE / "diary.csv"
TRUTH = SupportStress(within=-0.25, between=-0.60, answer_logit=1.15)
SEED = 11


def diary() -> pd.DataFrame:
    """One row a prompt; support and stress are missing where nobody answered."""
    frame = simulate_frame(TRUTH, persons=60, days=14, prompts=5, seed=SEED)
    named = frame.rename(columns={"slot": "prompt"}).round({"hour": 2})
    return named[["person", "day", "prompt", "hour", "weekend", "support", "stress"]]


def executed(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with its outputs, run beside its data by a kernel that finds the engine; no times, no counts of runs."""
    os.environ["PYTHONPATH"] = str(HERE.parents[1])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(HERE)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output["data"]["image/png"] = smaller(output["data"]["image/png"])
    return notebook


def smaller(picture: str) -> str:
    """The same PNG (base64) packed as tightly as it can be: a quarter of what the renderer writes."""
    png = base64.b64decode(picture)
    chunks, packed, at = [], b"", 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length
        if kind == b"IDAT":
            packed += body
        else:
            chunks.append((kind, body))
    chunks.insert(-1, (b"IDAT", zlib.compress(zlib.decompress(packed), 9)))
    out = png[:8]
    for kind, body in chunks:
        out += (
            len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        )
    return base64.b64encode(out).decode()


if __name__ == "__main__":
    diary().to_csv(DIARY, index=False, float_format="%g")
    nbformat.write(executed(nbformat.read(NOTEBOOK, as_version=4)), NOTEBOOK)
