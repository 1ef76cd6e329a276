"""How numbers and pictures of stored results are written on a page."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.safestring import SafeString, mark_safe

from ema_server.common import figures as written

register = template.Library()


@register.filter
def figure(figures: dict[str, str], name: str) -> SafeString:
    """The picture of this name, as the night drew it (its texts were escaped there); nothing where there is none."""
    return mark_safe(figures.get(name, ""))


@register.filter
def of(key: str, name: str) -> str:
    """The name of one model's picture: `main` of `signature` is `main:signature`."""
    return f"{key}:{name}"


@register.filter
def number(value: float | None, decimals: int = 2) -> str:
    """With U+2212 for minus, commas for thousands, and an en dash where there is nothing."""
    return written.number(value, int(decimals))


@register.filter
def signed(value: float | None, decimals: int = 2) -> str:
    return written.number(value, int(decimals), sign=True)


@register.filter
def percent(value: float | None, decimals: int = 1) -> str:
    """0.89 as 89.0 %."""
    return "–" if value is None else f"{written.number(100 * value, int(decimals))}\u00a0%"


@register.filter
def p_value(value: float | None) -> str:
    return written.p_value(value)


@register.filter
def share_of(part: float, whole: float | None) -> float:
    """A part of a whole as a percentage from 0 to 100, for the length of a bar."""
    return 100.0 if not whole else round(100.0 * part / whole, 1)


@register.filter
def get(mapping: dict[str, Any], key: str) -> Any:
    return mapping.get(key)
