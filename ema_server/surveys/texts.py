"""Texts in several languages, and answers piped into them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

Text = str | Mapping[str, str]

LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
UNANSWERED = "…"
_RIGHT_TO_LEFT = {"ar", "arc", "ckb", "dv", "fa", "he", "iw", "ks", "ku-arab", "ps", "sd", "ug", "ur", "yi"}
_PART = re.compile(r"\{\{|\}\}|\{(@?[A-Za-z_][A-Za-z0-9_]*)\}|\{|\}")


def languages_of(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The document's languages, the fallback first; none where every text is a plain string."""
    return tuple(document.get("languages") or ())


def in_language(text: Text, language: str | None, languages: tuple[str, ...]) -> str:
    """The text in the language that is asked for (`pt-BR` may be served by `pt`), else in the fallback."""
    if isinstance(text, str):
        return text
    for wanted in (language or "", (language or "").split("-")[0], *languages):
        if wanted in text:
            return text[wanted]
    return next(iter(text.values()), "")


def direction(language: str | None) -> Literal["ltr", "rtl"]:
    """The way in which a language is written, from its code; a script named in it decides (`az-Arab`)."""
    parts = (language or "").lower().split("-")
    if "arab" in parts or "hebr" in parts:
        return "rtl"
    return "ltr" if "latn" in parts or parts[0] not in _RIGHT_TO_LEFT else "rtl"


def pipe(text: str, answer_in_words: Callable[[str], str | None]) -> str:
    """The text with `{name}` replaced by what `answer_in_words` says of it; `…` where it says nothing."""

    def replaced(part: re.Match[str]) -> str:
        if part[0] in {"{{", "}}"}:
            return part[0][0]
        return (answer_in_words(part[1]) or UNANSWERED) if part[1] else part[0]

    return _PART.sub(replaced, text)


def piped_names(text: str) -> list[str]:
    """What a text takes from answers and facts; a fact begins with @."""
    return [part[1] for part in _PART.finditer(text) if part[1]]


def has_stray_brace(text: str) -> bool:
    """Whether a brace stands alone: neither doubled nor round a name."""
    return any(part[0] in {"{", "}"} for part in _PART.finditer(text))


def each_string(text: Any) -> Iterator[str]:
    """Every language's string of a text."""
    if isinstance(text, str):
        yield text
    elif isinstance(text, dict):
        yield from (each for each in text.values() if isinstance(each, str))
