"""What a micro-randomised study's rows say of each decision point: the option, its probability, who was available."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from ema_server.reports.variables import Kind, Variable
from ema_server.sampling.decisions import availability_that_counts, probability
from ema_server.sampling.models import Decision, PromptEvent
from ema_server.studies.models import Study


class Decided(NamedTuple):
    """What chance chose at a decision point, and whether its person was available, as far as that is known."""

    option: str
    probability: float
    available: bool | None
    told_by: str | None  # phone or server


def read_decisions(study: Study, cutoff: datetime, people: Sequence[int]) -> dict[Any, Decided]:
    """What chance chose at the decision points of some people, and who was available as far as is known at the cutoff."""
    made = list(
        Decision.objects.filter(prompt__study=study, prompt__participant__in=people, made_at__lte=cutoff).values_list(
            "prompt_id", "option", "options"
        )
    )
    if not made:
        return {}
    events = PromptEvent.objects.filter(study=study, prompt__participant__in=people, received_at__lte=cutoff)
    counting = availability_that_counts(events, cutoff=cutoff).values_list("prompt_id", "kind", "phone_text")
    words = {
        prompt: (kind == PromptEvent.Kind.AVAILABLE, "phone" if text else "server") for prompt, kind, text in counting
    }
    return {
        prompt: Decided(
            option,
            probability(options, option),
            *words.get(prompt, (None, None)),
        )
        for prompt, option, options in made
    }


def decision_columns(made: Sequence[Decided | None]) -> dict[str, Any]:
    """Empty where a prompt is no decision point."""
    return {
        "decision_available": [np.nan if each is None or each.available is None else each.available for each in made],
        "decision_told_by": [None if each is None else each.told_by for each in made],
        "decision_probability": [np.nan if each is None else each.probability for each in made],
        "decision_option": [None if each is None else each.option for each in made],
    }


def _of(name: str, kind: Kind, label: str, **more: Any) -> Variable:
    return Variable(name, kind, label, origin="prompt", **more)


DECISION = (
    _of("decision_available", "yesno", "Whether the person was available at the decision point; empty where nobody knows",
         low=0.0, high=1.0),
    _of("decision_told_by", "category", "Who said so; a phone knows what was drawn",
        levels=(("phone", "the phone"), ("server", "the server"))),
    _of("decision_probability", "number", "Probability of the option that was drawn", low=0.0, high=1.0),
)  # fmt: skip


def decision_variables(study: Study, cutoff: datetime) -> list[Variable]:
    """The columns of a micro-randomised study, none of any other; its options are those of all versions of its plan."""
    if not Decision.objects.filter(prompt__study=study, made_at__lte=cutoff).exists():
        return []
    options = {
        option: option
        for document in study.sampling_plans.order_by("number").values_list("document", flat=True)
        for rule in document["rules"]
        for option in sorted(rule.get("decide", {}).get("options", ()))
    }
    label = "Option that was drawn; it was done where the person was available"
    return [*DECISION, _of("decision_option", "category", label, levels=tuple(options.items()))]
