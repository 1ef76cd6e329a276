"""Small words for the pages about questionnaires."""

from __future__ import annotations

from django import template
from django.utils.translation import get_language_info

register = template.Library()


@register.filter
def language_name(code: str) -> str:
    """A language as its speakers call it, with its code; the code alone where nobody knows it."""
    try:
        return f"{get_language_info(code)['name_local']} ({code})"
    except KeyError:
        return code


@register.filter
def words(text: str) -> list[str]:
    return text.split()
