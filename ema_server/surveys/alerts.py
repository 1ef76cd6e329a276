"""Which alerts fire: conditions over the answers and scores of one questionnaire that somebody must know of at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ema_server.surveys import expressions
from ema_server.surveys.answers import NO_FACTS, counted
from ema_server.surveys.document import Survey
from ema_server.surveys.scores import scores


def fired(survey: Survey, answers: Mapping[str, Any], facts: Mapping[str, Any] = NO_FACTS) -> list[str]:
    """The keys of the alerts whose conditions hold, in the document's order. Only answers that count are asked, sealed ones
    too; a score that too few answers make is unanswered, and so is a fact that is not known. `docs/alerts.json` has examples
    that every phone must agree with."""
    if not survey.alerts:
        return []
    known = counted(survey, answers, facts)
    known |= {key: score for key, score in scores(survey, known).items() if not math.isnan(score)}
    return [alert.key for alert in survey.alerts if expressions.holds(alert.when, known, facts)]
