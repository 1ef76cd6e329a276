"""A questionnaire with everything that the format has, and small ones."""

from __future__ import annotations

from typing import Any

MOOD: dict[str, Any] = {
    "schema": "ema-survey/1",
    "title": {"en": "Right now", "nl": "Op dit moment", "ar": "الآن"},
    "languages": ["en", "nl", "ar"],
    "source": {"citation": "Written for this test."},
    "pages": [
        {"key": "mood", "title": {"en": "Mood", "nl": "Stemming", "ar": "المزاج"}, "order": "random"},
        {"key": "body", "show_if": "@day >= 2"},
    ],
    "items": [
        {"name": "hello", "type": "information", "text": {"en": "Hello", "nl": "Hallo", "ar": "مرحبا"}},
        {
            "name": "happy",
            "type": "slider",
            "range": [0, 100],
            "step": 0.5,
            "page": "mood",
            "text": {"en": "Happy?", "nl": "Blij?", "ar": "سعيد؟"},
            "labels": {"0": {"en": "not at all", "nl": "helemaal niet", "ar": "لا"}},
            "source": {"citation": "Own item", "licence": "CC0", "item": "1"},
        },
        {
            "name": "tense",
            "type": "slider",
            "range": [0, 100],
            "page": "mood",
            "text": {"en": "Tense?", "nl": "Gespannen?", "ar": "متوتر؟"},
        },
        {
            "name": "company",
            "type": "choice",
            "text": {"en": "Who is with you?", "nl": "Wie is er bij u?", "ar": "من معك؟"},
            "options": [
                {"value": "nobody", "label": {"en": "Nobody", "nl": "Niemand", "ar": "لا أحد"}},
                {"value": "friends", "label": {"en": "Friends", "nl": "Vrienden", "ar": "أصدقاء"}},
            ],
        },
        {
            "name": "pleasant",
            "type": "likert",
            "range": [1, 7],
            "show_if": 'company != "nobody"',
            "text": {"en": "How pleasant: {company}?", "nl": "Hoe prettig: {company}?", "ar": "كم هو ممتع: {company}؟"},
        },
        {
            "name": "symptoms",
            "type": "choices",
            "page": "body",
            "required": False,
            "text": {"en": "Symptoms", "nl": "Klachten", "ar": "الأعراض"},
            "options": [
                "headache",
                "light-headed",
                {"value": "none", "label": {"en": "None", "nl": "Geen", "ar": "لا شيء"}, "exclusive": True},
            ],
            "at_most": 2,
        },
        {
            "name": "pain",
            "type": "number",
            "range": [0, 10],
            "page": "body",
            "show_if": 'selected(symptoms, "headache") and happy < 50',
            "text": {"en": "Pain", "nl": "Pijn", "ar": "ألم"},
        },
        {"name": "alone", "type": "yesno", "required": False, "text": {"en": "Alone?", "nl": "Alleen?", "ar": "وحيد؟"}},
        {
            "name": "note",
            "type": "text",
            "required": False,
            "text": {"en": "More?", "nl": "Nog iets?", "ar": "المزيد؟"},
        },
        {"name": "bed", "type": "time", "required": False, "text": {"en": "To bed", "nl": "Naar bed", "ar": "النوم"}},
        {"name": "slept", "type": "duration", "required": False, "text": {"en": "Slept", "nl": "Slaap", "ar": "نمت"}},
        {
            "name": "met_on",
            "type": "date",
            "range": ["2026-01-01", "2026-12-31"],
            "required": False,
            "text": {"en": "Met on", "nl": "Gezien op", "ar": "التقينا"},
        },
        {
            "name": "weight",
            "type": "number",
            "unit": "kg",
            "sensitive": True,
            "required": False,
            "text": {"en": "Weight", "nl": "Gewicht", "ar": "الوزن"},
        },
        {
            "name": "photo",
            "type": "media",
            "kind": "photo",
            "required": False,
            "text": {"en": "A photo", "nl": "Een foto", "ar": "صورة"},
        },
    ],
    "scales": [
        {"key": "wellbeing", "items": ["happy", "tense"], "reversed": ["tense"], "minimum_answered": 1},
        {"key": "burden", "items": ["tense", "happy"], "reversed": ["happy"], "score": "sum"},
    ],
}


def asking(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A questionnaire of these items, each with a text if it has none."""
    return {"title": "T", "items": [{"text": "Q?", **item} for item in items], **more}


def slider(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "slider", "range": [0, 100], **more}
