"""What holds for every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings

TEMPLATES = Path(settings.BASE_DIR) / "ema_server" / "templates"
CLOCK_TIME = re.compile(r'\|date:"[^"]*H:i[^"]*"[^}]*\}\}(.{0,60})', re.DOTALL)


@pytest.mark.parametrize("template", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: path.name)
def test_every_time_of_day_says_its_zone(template: Path) -> None:
    text = template.read_text()
    said_for_all = "(UTC)</th>" in text or "times in {{" in text
    assert all("UTC" in after or said_for_all for after in CLOCK_TIME.findall(text))
