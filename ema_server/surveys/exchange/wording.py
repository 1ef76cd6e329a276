"""Texts and names of others as ours: plain, bounded, and piped in our way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from html import unescape

from ema_server.surveys.columns import RESERVED
from ema_server.surveys.faults import LONGEST

LONGEST_NAME = 40
_TAGS = (
    "a abbr address article audio b big blockquote body br button caption center code col colgroup dd del details div dl dt em"
    " fieldset figure font form h1 h2 h3 h4 h5 h6 head header hr html i iframe img input ins label legend li link mark meta"
    " nobr ol option p pre q s samp script section select small source span strike strong style sub summary sup table"
    " tbody td textarea tfoot th thead title tr tt u ul var video"
)
_TAG = re.compile(rf"</?({'|'.join(_TAGS.split())})(?=[\s/>])[^<>]*>", re.IGNORECASE)
_UNSEEN = re.compile(r"<(?:!--|(script|style)\b)", re.IGNORECASE | re.ASCII)
_ENDS = {
    None: re.compile("-->"),
    "script": re.compile(r"</script\s*>", re.IGNORECASE | re.ASCII),
    "style": re.compile(r"</style\s*>", re.IGNORECASE | re.ASCII),
}
_BREAKS = {"br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "hr", "blockquote"}
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\u2028\u2029]")  # also what no database stores as JSON


def plain(text: str) -> tuple[str, list[str]]:
    """The text without markup, and the tags that it had. `a < b` is no tag."""
    tags: list[str] = []

    def replaced(tag: re.Match[str]) -> str:
        name = tag[1].lower()
        if name not in tags:
            tags.append(name)
        return "\n" if name in _BREAKS else ""

    text = text.replace("\r\n", "\n").replace("\r", "\n")
    seen = _without_unseen(text)
    if seen != text:
        tags.append("script, style or comment")
    seen = unescape(_TAG.sub(replaced, seen)).replace("\xa0", " ")
    seen = _CONTROL.sub("", seen)
    lines = (re.sub(r"[ \t]+", " ", line).strip() for line in seen.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip(), tags


def _without_unseen(text: str) -> str:
    """The text without scripts, styles and comments. One without an end stays, and its end is looked for once."""
    parts: list[str] = []
    endless: set[str | None] = set()
    at = 0
    for begin in _UNSEEN.finditer(text):
        kind = begin[1] and begin[1].lower()
        if begin.start() < at or kind in endless:
            continue
        end = _ENDS[kind].search(text, begin.end())
        if end is None:
            endless.add(kind)
            continue
        parts.append(text[at : begin.start()])
        at = end.end()
    return "".join([*parts, text[at:]])


def shortened(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def piped(text: str, reference: re.Pattern[str], replace: Callable[[re.Match[str]], str | None]) -> str:
    """The text with every reference replaced (None keeps it as it stands) and other braces doubled."""
    parts: list[str] = []
    end = 0
    for found in reference.finditer(text):
        new = replace(found)
        if new is None:
            continue
        parts += [_doubled(text[end : found.start()]), new]
        end = found.end()
    return "".join([*parts, _doubled(text[end:])])


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


class Names:
    """Names that are ours, each once: lower-case letters, digits and `_`, none that the data use themselves."""

    def __init__(self, fallback: str = "q") -> None:
        self.taken: set[str] = set()
        self.fallback = fallback
        self._numbered: dict[str, int] = {}  # the last number that a beginning was given

    def take(self, theirs: str) -> str:
        name = re.sub(r"[^a-z0-9_]", "_", theirs.lower())
        if not re.search(r"[a-z0-9]", name):
            name = self.fallback
        name = name if name[0].isalpha() else f"{self.fallback}_{name.lstrip('_')}"
        if name in RESERVED:
            name = f"my_{name}"
        name = name[:LONGEST_NAME]
        new = name
        while new in self.taken or new in RESERVED:
            new = self._next(name)
        self.taken.add(new)
        return new

    def _next(self, name: str) -> str:
        """The name with the next number that its beginning did not have yet, so that no name is tried twice."""
        for digits in range(1, LONGEST_NAME):
            stem = name[: LONGEST_NAME - digits - 1]
            number = max(self._numbered.get(stem, 1), 10 ** (digits - 1) - 1) + 1
            if number < 10**digits:
                break
        self._numbered[stem] = number
        return f"{stem}_{number}"


def slug(text: str, fallback: str) -> str:
    """A short name for a questionnaire, such as an address takes."""
    found = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:50].strip("-")
    return found or fallback


def listed(values: Iterable[object], most: int = 12) -> str:
    """`3, 5, 9`, and how many more."""
    given = [str(value) for value in values]
    return ", ".join(given[:most]) + (f" and {len(given) - most} more" if len(given) > most else "")
