"""A plan as sentences."""

from __future__ import annotations

from typing import Any

import pytest

from ema_server.sampling.words import in_words, plan_in_words

PLAN: dict[str, Any] = {
    "gap_minutes": 30,
    "waking": ["08:00", "22:00"],
    "travel": "next_day",
    "own_events": [{"key": "quit", "title": "The day I quit"}],
    "allocation": {"arms": {"treatment": 2, "control": 1}},
    "waves": [{"key": "w1", "title": "Spring", "days": [1, 14]}, {"key": "w2", "days": [180, 193]}],
}


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            {"random": {"count": 6}, "open_minutes": 60, "reminders": [10, 20]},
            "six random prompts a day between waking and sleep, one in each of six equal parts, at least 30 minutes apart; open "
            "60 minutes, reminders after 10 and 20 minutes.",
        ),
        (
            {"random": {"count": 14, "from": "wake+60", "to": "21:00", "spread": "anywhere"}, "open_minutes": 15},
            "14 random prompts a day between 60 minutes after waking and 21:00, at least 30 minutes apart; open 15 minutes.",
        ),
        (
            {"times": ["10:00", "sleep-30"], "weekdays": [7, 6], "open_minutes": 1440},
            "at 10:00 and 30 minutes before sleep, on Saturdays and Sundays; open 1 day.",
        ),
        (
            {"windows": [["09:00", "10:30"], ["13:00", "14:00"]], "waves": ["w1", "w2"], "arms": ["a", "b"], "open_minutes": 30},
            "at a random moment between 09:00 and 10:30 and between 13:00 and 14:00, in waves w1 (Spring) and w2, for arm a or b; "
            "open 30 minutes.",
        ),
        (
            {"every": {"minutes": 90, "jitter_minutes": 10}, "open_minutes": 20, "grace_minutes": 5},
            "every 90 minutes between waking and sleep, each moved by up to 10 minutes at random every day; open 20 minutes, 5 "
            "minutes more for who has started.",
        ),
        ({"once": "enrolment", "open_minutes": 120}, "once, on enrolment, at once; open 2 hours."),
        ({"once": "end", "at": "18:00", "open_minutes": 60}, "once, on the person's last day at 18:00; open 60 minutes."),
        ({"once": {"day": 3}, "open_minutes": 60, "practice": True}, "once, on day 3 at 09:00; open 60 minutes; practice."),
        (
            {"after": {"questionnaire": "momentary", "minutes": 30, "if": "stress > 50", "at_most": 2}, "open_minutes": 60},
            "30 minutes after an answer to momentary, if stress > 50, at most twice a day; open 60 minutes.",
        ),
        (
            {"times": ["10:00"], "from_event": "quit", "days": [-3, 7], "open_minutes": 60},
            "at 10:00, from 3 days before to 7 days after (own event quit (The day I quit)); open 60 minutes.",
        ),
        (
            {"times": ["10:00"], "open_minutes": 60, "decide": {"options": {"message": 0.6, "none": 0.4}, "rest_minutes": 60}},
            "at 10:00 every day; open 60 minutes; chance decides: message with probability 0.6 and none with probability 0.4, "
            "unless an answer came in the 60 minutes before.",
        ),
        ({"event": True}, "a button in the app, whenever the person likes."),
        ({}, "never: an import names what its prompts were for."),
    ],
)  # fmt: skip
def test_a_rule_reads_as_a_sentence(rule: dict[str, Any], words: str) -> None:
    assert in_words(rule, PLAN) == words


def test_a_plan_says_first_what_holds_for_all() -> None:
    rule = {"key": "day", "questionnaire": "momentary", "times": ["10:00"], "open_minutes": 60}
    assert plan_in_words({**PLAN, "rules": [rule]}) == [
        "Any two prompts of a day are at least 30 minutes apart.",
        "Nothing is asked outside 08:00–22:00, or the person's own waking hours.",
        "A new time zone holds from the person's next day.",
        "Who enrols without an arm gets one by chance: treatment 2 and control 1.",
        "day (momentary): at 10:00 every day; open 60 minutes.",
    ]
