"""Codes of languages from the names that forms give them: `English (en)`, `Arabic`, `français`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ema_server.surveys.texts import LANGUAGE

UNDETERMINED = "und"
_PRIVATE = "qaa"  # qaa to qtz are nobody's
_CODES = {
    "afrikaans": "af", "albanian": "sq", "amharic": "am", "arabic": "ar", "العربية": "ar", "armenian": "hy", "bengali": "bn",
    "bangla": "bn", "bulgarian": "bg", "burmese": "my", "catalan": "ca", "chinese": "zh", "croatian": "hr", "czech": "cs",
    "danish": "da", "dansk": "da", "dari": "prs", "dutch": "nl", "nederlands": "nl", "english": "en", "estonian": "et",
    "farsi": "fa", "persian": "fa", "finnish": "fi", "suomi": "fi", "french": "fr", "français": "fr", "francais": "fr",
    "german": "de", "deutsch": "de", "greek": "el", "gujarati": "gu", "hausa": "ha", "hebrew": "he", "עברית": "he",
    "hindi": "hi", "हिन्दी": "hi", "hungarian": "hu", "igbo": "ig", "indonesian": "id", "italian": "it", "italiano": "it",
    "japanese": "ja", "khmer": "km", "kinyarwanda": "rw", "korean": "ko", "kurdish": "ku", "lao": "lo", "latvian": "lv",
    "lithuanian": "lt", "malay": "ms", "marathi": "mr", "nepali": "ne", "norwegian": "no", "norsk": "no", "pashto": "ps",
    "polish": "pl", "polski": "pl", "portuguese": "pt", "português": "pt", "portugues": "pt", "punjabi": "pa",
    "romanian": "ro", "russian": "ru", "русский": "ru", "serbian": "sr", "sinhala": "si", "slovak": "sk", "slovenian": "sl",
    "somali": "so", "spanish": "es", "español": "es", "espanol": "es", "swahili": "sw", "kiswahili": "sw", "swedish": "sv",
    "svenska": "sv", "tagalog": "tl", "filipino": "fil", "tamil": "ta", "telugu": "te", "thai": "th", "tigrinya": "ti",
    "turkish": "tr", "türkçe": "tr", "ukrainian": "uk", "urdu": "ur", "vietnamese": "vi", "xhosa": "xh", "yoruba": "yo",
    "zulu": "zu",
}  # fmt: skip


def codes(names: Iterable[str]) -> dict[str, str]:
    """A code for each name, none twice. What nobody knows gets one of the codes kept for private use."""
    found: dict[str, str] = {}
    for name in names:
        code = _code(name)
        number = 0
        while code is None or code in found.values():
            code = _PRIVATE[:1] + "abcdefghijklmnopqrst"[number // 26] + chr(ord("a") + number % 26)
            number += 1
        found[name] = code
    return found


def _code(name: str) -> str | None:
    if name == "default":
        return UNDETERMINED
    written = re.search(r"\(\s*([A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*)\s*\)", name)
    candidates = [written[1]] if written else []
    candidates.append(name)
    for candidate in candidates:
        first, *rest = candidate.strip().replace("_", "-").split("-")
        code = "-".join([first.lower(), *rest])
        if LANGUAGE.fullmatch(code) and (written or len(first) == 2):
            return code
    words = re.sub(r"\(.*?\)", "", name).strip().casefold()
    return _CODES.get(words)
