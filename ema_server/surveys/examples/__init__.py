"""Questionnaires to start from, in wording of our own."""

from __future__ import annotations

from pathlib import Path

MOMENTARY = (Path(__file__).parent / "momentary.json").read_text(encoding="utf-8")
EMPTY = """{
  "schema": "ema-survey/1",
  "title": "",
  "items": [
    {"name": "stress", "type": "slider", "range": [0, 100], "text": "How stressed do you feel right now?"}
  ]
}
"""
