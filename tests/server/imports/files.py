"""Files of finished studies, as tests write them, and the command on them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from django.core.management import call_command

LONG = """person,scheduled_at,status,answered_at,stress,alone,note
P1,2024-03-04T10:00:00+01:00,answered,2024-03-04T10:05:00+01:00,40,yes,at work
P1,2024-03-04T14:00:00+01:00,expired,,,,
P1,2024-03-05T10:00:00+01:00,answered,2024-03-05T12:30:00+01:00,60,no,
P2,2024-03-04T10:00:00+01:00,cancelled,2024-03-04T10:01:00+01:00,10,,
P2,2024-03-04T14:00:00+01:00,,,,,
P2,2024-03-05T10:00:00+01:00,answered,2024-03-05T10:01:00+01:00,100,yes,"said ""no"", then \\ left"
"""


def written(folder: Path, text: str, name: str = "rows.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_text(text, encoding=encoding)
    return path


def run(*files: Path, **options: Any) -> str:
    """What the command says."""
    out = io.StringIO()
    options = {"slug": "old", "zone": "Europe/Amsterdam", **options}
    words = [str(file) for file in files]
    for name, value in options.items():
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    call_command("import_study", *words, stdout=out)
    return out.getvalue()


def mapped(folder: Path, document: Any) -> Path:
    return written(folder, json.dumps(document), "map.json")
