"""What a study allows in each of its states, and how it gets from one to the next: one table that every service asks.

    states.require(study.state, "enrol")   # raises StudyClosed with the sentence that says why not

draft → live ⇄ paused → ended → locked; an ended study goes live again with a reason; a locked one stays locked.
"""

from __future__ import annotations

from dataclasses import dataclass

from ema_server.common.errors import DomainError

DRAFT, LIVE, PAUSED, ENDED, LOCKED = STATES = ("draft", "live", "paused", "ended", "locked")
UNTIL_ENDED = (DRAFT, LIVE, PAUSED)
UNTIL_LOCKED = (*UNTIL_ENDED, ENDED)


class StudyClosed(DomainError):
    """The study's state does not allow this."""

    code = "study_closed"


class NoSuchTransition(DomainError):
    code = "no_such_transition"


@dataclass(frozen=True, slots=True)
class Action:
    """Something that services do: in words, in which states, and why not in the others."""

    words: str
    states: tuple[str, ...]
    why_not: str


ACTIONS = {
    "invite": Action("Invite people", UNTIL_ENDED, "it takes nobody in any more."),
    "enrol_test": Action("Let test participants in", UNTIL_ENDED, "it takes no new phones."),
    "enrol": Action("Let participants in", (LIVE,), "it takes no new phones."),
    "prompt": Action("Ask people: give prompts to phones", (DRAFT, LIVE), "it asks nothing new of anybody."),
    "answers": Action(
        "Take answers, late ones too", UNTIL_LOCKED, "its data are closed; what still comes goes to quarantine."
    ),
    "nights": Action("Analyse every night", (LIVE, PAUSED), "its nights are not analysed by themselves."),
    "questionnaires": Action("Publish questionnaires", UNTIL_LOCKED, "its questionnaires stay as they are."),
    "sampling": Action("Publish a sampling plan", UNTIL_LOCKED, "its sampling plan stays as it is."),
    "consent": Action("Publish a consent text", UNTIL_ENDED, "nobody is asked to agree any more."),
    "crisis_card": Action("Publish a crisis card", UNTIL_LOCKED, "its crisis card stays as it is."),
    "dates": Action("Change first day and time zone", (DRAFT,), "its prompts are planned by them already."),
    "last_day": Action("Change the last day", UNTIL_ENDED, "its collection is over."),
    "structure": Action("Change arms, sites and roles, and who is in them", UNTIL_LOCKED, "its data are closed."),
    "person_data": Action("Import person data", UNTIL_LOCKED, "its data are closed."),
    "export": Action("Export the data", STATES, ""),
    "leave": Action("Withdraw or erase a person", STATES, ""),
}
"""In a draft those who are asked and who answer are test participants: nobody else can have come in."""

TRANSITIONS = {
    (DRAFT, LIVE): "Start the study",
    (LIVE, PAUSED): "Pause the study",
    (PAUSED, LIVE): "Go on with the study",
    (LIVE, ENDED): "End the study",
    (PAUSED, ENDED): "End the study",
    (ENDED, LIVE): "Open the study again",
    (ENDED, LOCKED): "Lock the data for ever",
}
NEEDS_REASON = {(ENDED, LIVE)}
MEANS = {
    LIVE: "People can come in and are asked.",
    PAUSED: "Nobody new comes in and nothing new is asked; answers are taken. What falls into the pause is called off.",
    ENDED: "Nobody new comes in and nothing new is asked; late answers are taken.",
    LOCKED: "The data are closed: what still comes goes to quarantine, reports are final. Nothing opens it again.",
}


def in_words(state: str) -> str:
    return "has ended" if state == ENDED else f"is {state}"


def refusal(state: str, action: str) -> str | None:
    """Why this is not done in this state; None if it is."""
    known = ACTIONS[action]
    return None if state in known.states else f"The study {in_words(state)}; {known.why_not}"


def allows(state: str, action: str) -> bool:
    return refusal(state, action) is None


def require(state: str, action: str) -> None:
    """Go on, or raise the sentence that says why not."""
    why_not = refusal(state, action)
    if why_not is not None:
        raise StudyClosed(why_not)


def following(state: str) -> list[str]:
    """The states that this one can become."""
    return [to for before, to in TRANSITIONS if before == state]


def transition_faults(
    state: str, to: str, *, reason: str, questionnaires: int, sampling_plans: int, faults_of_plan: list[str]
) -> list[str]:
    """Why a study cannot go from one state to another now; an empty list if it can."""
    if to not in STATES:
        return [f"state: {to[:40]!r} is no state; there are {', '.join(STATES)}."]
    if (state, to) not in TRANSITIONS:
        possible = " or ".join(following(state)) or "nothing else: it stays as it is"
        return [f"state: a study that is {state} cannot become {to}; it can become {possible}."]
    faults = []
    if (state, to) in NEEDS_REASON and not reason.strip():
        faults.append("reason: say why an ended study is opened again; it is kept in the audit trail.")
    if (state, to) == (DRAFT, LIVE):
        if not questionnaires:
            faults.append("questionnaires: publish at least one before the study starts.")
        if not sampling_plans:
            faults.append("sampling plan: publish one before the study starts; it says who is asked what and when.")
        faults += [f"sampling plan: {fault}" for fault in faults_of_plan]
    return faults
