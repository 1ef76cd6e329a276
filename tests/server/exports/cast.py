"""A study with everything that an export must carry: every item type, two versions, two languages, odd people."""

from __future__ import annotations

from typing import Any

from ema_server.participants.services import import_person_table
from ema_server.studies.models import Study
from ema_server.studies.services import publish_survey
from tests.world import FakePhone, live_study

LONG = "How much did what happened since the last prompt weigh on you, counting all of it, also what you forgot? — " * 3
SURVEY: dict[str, Any] = {
    "title": {"en": "Right now", "ar": "الآن"},
    "languages": ["en", "ar"],
    "source": {"citation": "Made for these tests"},
    "items": [
        {"name": "support", "type": "slider", "range": [-50, 100], "text": {"en": "Support?", "ar": "هل تشعر بالدعم؟"},
         "labels": {"-50": {"en": "none", "ar": "لا شيء"}, "100": {"en": "very much", "ar": "كثير جدا"}}},
        {"name": "stress", "type": "slider", "range": [0, 100], "text": {"en": "Stress? " + "هل أنت متوتر؟ " * 20, "ar": "هل أنت متوتر؟"}},
        {"name": "calm", "type": "likert", "range": [1, 7], "required": False, "text": {"en": LONG, "ar": "هادئ؟"},
         "labels": {"1": {"en": "not at all", "ar": "أبدا"}, "7": {"en": "very", "ar": "جدا"}}},
        {"name": "tense", "type": "likert", "range": [1, 7], "required": False, "text": {"en": "Tense?", "ar": "مشدود؟"}},
        {"name": "alone", "type": "yesno", "required": False, "text": {"en": "Alone?", "ar": "وحيد؟"}},
        {"name": "company", "type": "choice", "required": False, "text": {"en": "Who is with you?", "ar": "من معك؟"},
         "options": [{"value": "nobody", "label": {"en": "Nobody", "ar": "لا أحد"}},
                     {"value": "=friends", "label": {"en": "Friends, “close” ones", "ar": "أصدقاء"}}]},
        {"name": "grade", "type": "choice", "required": False, "text": {"en": "Grade?", "ar": "درجة؟"}, "options": [10, -20, 30]},
        {"name": "did", "type": "choices", "required": False, "text": {"en": "What did you do?", "ar": "ماذا فعلت؟"},
         "options": [{"value": "work", "label": {"en": "Work", "ar": "عمل"}}, {"value": "rest", "label": {"en": "Rest", "ar": "راحة"}}]},
        {"name": "slept", "type": "duration", "required": False, "text": {"en": "Slept?", "ar": "نمت؟"}},
        {"name": "woke", "type": "time", "required": False, "text": {"en": "Woke?", "ar": "استيقظت؟"}},
        {"name": "since", "type": "date", "required": False, "text": {"en": "Since?", "ar": "منذ؟"}},
        {"name": "why", "type": "text", "required": False, "text": {"en": "Why?", "ar": "لماذا؟"}},
        {"name": "weight", "type": "number", "required": False, "sensitive": True, "text": {"en": "Weight?", "ar": "الوزن؟"}},
        {"name": "pleasant", "type": "likert", "range": [1, 7], "show_if": "company != \"nobody\"", "required": False,
         "text": {"en": "Pleasant?", "ar": "لطيف؟"}},
    ],
    "scales": [{"key": "ease", "title": {"en": "Ease", "ar": "راحة"}, "items": ["calm", "tense"], "reversed": ["tense"]}],
}  # fmt: skip
FULL = {
    "support": -5.25, "stress": 30, "calm": 6, "tense": 2, "alone": True, "company": "=friends", "grade": -20,
    "did": ["work"], "slept": 480, "woke": "07:30", "since": "2026-02-01", "why": "=HYPERLINK(\"x\") بسبب العمل\nand more",
    "weight": 71.5, "pleasant": 5,
}  # fmt: skip


def crowded_study() -> tuple[Study, list[FakePhone]]:
    """Three people; one answers all, one oddly, one nothing."""
    study = live_study(survey=SURVEY)
    phones = [FakePhone(study, pseudonym=name).enrolled() for name in ("P1", "P2", "=P3")]
    full, odd, _ = phones
    full.submit(*[full.item(n, answers={**FULL, "stress": 10 * n, "calm": 1 + n % 7}) for n in range(9)])
    odd.submit(
        odd.item(0, complete=False, answers={"support": 5}),
        odd.item(1, minutes=20, answers={"support": 1, "stress": 99, "company": "nobody", "pleasant": 7}),
        odd.item(1, minutes=10, answers={"support": 2, "stress": 11}),
        odd.item(2, minutes=900, answers={"support": 3, "stress": 1e-05}),
        odd.item(None, answers={"support": 4, "stress": 44}),
    )
    odd.report(0, "expired")
    odd.report(3, "cancelled")
    changed = {**SURVEY, "items": [*SURVEY["items"][1:], {"name": "late_item", "type": "yesno", "required": False,
               "text": {"en": "Later?", "ar": "لاحقا؟"}}]}  # fmt: skip
    publish_survey(study=study, questionnaire="momentary", document=changed)
    odd.submit(odd.item(5, survey_version=2, answers={"stress": 50, "late_item": False}))
    import_person_table(
        study=study,
        rows={"P1": {"sex": "female", "age": 40, "first": True}, "P2": {"sex": "male", "age": 50, "first": None}},
    )
    return study, phones
