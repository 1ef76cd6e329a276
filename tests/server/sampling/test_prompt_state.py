"""What is known of a prompt: derived by one function, whatever order things arrived in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ema_server.reports.fates import Sent, Window, fate
from ema_server.sampling.prompt_state import Asked, Happening, PromptState, called_off, prompt_state

TEN = datetime(2026, 3, 2, 10, tzinfo=UTC)
PROMPT = Asked(TEN, TEN + timedelta(hours=1), grace_minutes=15)
LONG_AFTER = TEN + timedelta(days=30)


def after(minutes: float) -> datetime:
    return TEN + timedelta(minutes=minutes)


def phone(kind: str, minutes: float | None, *, told: float = 200, **more: Any) -> Happening:
    at = None if minutes is None else after(minutes)
    return Happening(kind, after(told), at, by_phone=True, **more)


def server(kind: str, minutes: float, **more: Any) -> Happening:
    return Happening(kind, after(minutes), **more)


PLANNED = server("planned", -5000)


def known(*happenings: Happening, now: datetime = LONG_AFTER) -> PromptState:
    return prompt_state(PROMPT, [PLANNED, *happenings], now=now)


@pytest.mark.parametrize(
    ("happenings", "state", "delivered"),
    [
        ([], "lapsed", "unknown"),
        ([server("queued", -1)], "lapsed", "unknown"),
        ([server("sent", 0)], "lapsed", "unknown"),
        ([server("undelivered", 0, code="token_dead")], "lapsed", "no"),
        ([server("undelivered", 0, code="refused"), server("sent", 1)], "lapsed", "unknown"),
        ([server("sent", 0), phone("undelivered", 0, code="no_permission")], "lapsed", "no"),
        ([server("undelivered", 0, code="refused"), phone("opened", 3)], "lapsed", "yes"),
        ([phone("reminded", 10)], "lapsed", "yes"),
        ([phone("dismissed", 10)], "lapsed", "yes"),
        ([phone("expired", 60)], "expired", "unknown"),
        ([phone("available", 0)], "lapsed", "unknown"),
        ([server("cancelled", -100, code="plan_changed")], "cancelled", "unknown"),
        ([server("cancelled", 0, code="no_device")], "cancelled", "no"),
        ([server("cancelled", -100), server("restored", -50)], "lapsed", "unknown"),
        ([phone("completed", 5)], "completed", "yes"),
        ([phone("received", 5)], "received", "yes"),
        ([phone("received", 5, complete=False)], "expired", "yes"),
    ],
)
def test_delivered_is_yes_or_no_on_evidence_alone(happenings: list[Happening], state: str, delivered: str) -> None:
    found = known(*happenings)
    assert (found.state, found.delivered, found.flags[:0]) == (state, delivered, ())


def test_until_its_time_is_over_a_prompt_is_where_it_got_to() -> None:
    steps = [server("queued", -2), server("sent", -1), phone("delivered", 0), phone("shown", 1), phone("opened", 2)]
    steps += [phone("started", 3), phone("completed", 4), phone("uploaded", 5), phone("received", 4)]
    states = [known(*steps[:number], now=after(6)).state for number in range(len(steps) + 1)]
    assert states == ["planned", *(each.kind for each in steps)]


@pytest.mark.parametrize(
    ("happenings", "in_time", "judged_by"),
    [
        ([phone("received", 60)], True, "phone"),
        ([phone("received", 61)], False, "phone"),
        ([phone("received", 75), phone("started", 60)], True, "phone"),
        ([phone("received", 75, started_at=after(60))], True, "phone"),
        ([phone("received", 76), phone("started", 60)], False, "phone"),
        ([phone("received", 70), phone("started", 61)], False, "phone"),
        ([phone("received", None, told=59)], True, "server"),
        ([phone("received", None, told=61)], False, "server"),
        ([phone("received", None, told=5), phone("received", 90)], False, "phone"),  # a believable one comes first
    ],
)
def test_an_answer_is_in_time_by_its_expiry_or_within_the_grace_of_whoever_had_started(
    happenings: list[Happening], in_time: bool, judged_by: str
) -> None:
    found = known(*happenings)
    assert (found.completed, found.started, found.in_time, found.judged_by) == (True, True, in_time, judged_by)


@pytest.mark.parametrize(
    ("code", "happenings"),
    [
        ("before_planned", [phone("delivered", -6000)]),
        ("too_early", [phone("completed", -10), phone("received", 5)]),
        ("too_early", [phone("received", -10)]),
        ("before_it_moved", [server("rescheduled", -10, was_at=after(-30), now_at=TEN), phone("received", -20)]),
        ("started_after_end", [phone("started", 61)]),
        ("after_cancelled", [server("cancelled", 0), phone("opened", 5)]),
        ("after_cancelled", [server("cancelled", 0), phone("received", 5)]),
        ("completed_twice", [phone("received", 5), phone("received", 6)]),
        ("completed_twice", [phone("completed", 5), phone("completed", 6), phone("received", 6)]),
        ("expired_and_completed", [phone("expired", 60), phone("received", 5)]),
        ("out_of_order", [phone("delivered", 5), phone("shown", 3)]),
        ("out_of_order", [phone("opened", 7), phone("completed", 5), phone("received", 5)]),
        ("clock_not_believed", [phone("received", None)]),
        ("clock_ahead", [phone("opened", 10, told=5)]),
        ("answer_missing", [phone("completed", 5)]),
    ],
)
def test_what_contradicts_itself_is_kept_and_flagged(code: str, happenings: list[Happening]) -> None:
    flags = known(*happenings).flags
    assert code in {flag.code for flag in flags}
    assert all(len(flag.words) > 20 for flag in flags)


def test_what_goes_as_it_should_has_no_flag() -> None:
    steps = [
        phone(kind, minutes) for minutes, kind in enumerate(("delivered", "shown", "opened", "started", "completed"))
    ]
    assert known(server("sent", 0), *steps, phone("uploaded", 6), phone("received", 4)).flags == ()
    assert known(phone("completed", 4, told=4), now=after(5)).flags == ()  # the answer may be on its way
    assert known(phone("delivered", 1.5), phone("shown", 1)).flags == ()  # within a minute
    assert known(server("cancelled", -10), server("restored", -5), phone("received", 5)).flags == ()
    assert known(phone("opened", -6), server("cancelled", -5)).flags[0].code == "too_early"


def test_a_prompt_that_was_called_off_and_restored_in_one_moment_is_asked() -> None:
    off, again = server("cancelled", -10, number=7), server("restored", -10, number=8)
    assert called_off([off, again]) == []
    assert called_off([replace(off, number=9), again])


KINDS = ("delivered", "shown", "opened", "dismissed", "started", "completed", "uploaded", "reminded", "expired", "cancelled",
         "reissued", "undelivered", "available", "unavailable", "received", "received")  # fmt: skip
MINUTES = st.integers(-90, 120)
FROM_PHONES = st.builds(
    phone, st.sampled_from(KINDS), MINUTES, complete=st.booleans(), code=st.sampled_from(["", "no_permission"])
)
FROM_SERVER = st.builds(
    server,
    st.sampled_from(["queued", "sent", "undelivered", "cancelled", "restored", "rescheduled"]),
    MINUTES,
    code=st.sampled_from(["", "refused", "plan_changed"]),
)


@settings(derandomize=True, deadline=None)
@given(st.lists(FROM_PHONES, max_size=7), st.lists(FROM_SERVER, max_size=4), st.data())
def test_the_order_in_which_things_arrive_changes_nothing(
    of_phone: list[Happening], of_server: list[Happening], data: st.DataObject
) -> None:
    first = prompt_state(PROMPT, [PLANNED, *of_phone, *of_server], now=LONG_AFTER)
    arrived = [
        replace(each, told=after(data.draw(st.integers(121, 5000))), number=data.draw(st.integers(0, 99)))
        for each in of_phone
    ]
    again = data.draw(st.permutations([PLANNED, *arrived, *of_server]))
    second = prompt_state(PROMPT, again, now=LONG_AFTER)
    assert second == first


@settings(derandomize=True, deadline=None)
@given(st.lists(FROM_PHONES, max_size=6), st.lists(FROM_SERVER, max_size=3), st.integers(-100, 200))
def test_any_happenings_have_a_state_and_knowing_more_never_undoes_a_delivery(
    of_phone: list[Happening], of_server: list[Happening], now: int
) -> None:
    happenings = [PLANNED, *of_phone, *of_server]
    found = prompt_state(PROMPT, happenings, now=after(now))
    assert found.in_words
    assert not found.in_time or found.completed
    assert not found.completed or (found.started and found.delivered == "yes" and found.state == "received")
    if found.delivered == "yes":
        assert prompt_state(PROMPT, [*happenings, server("undelivered", 300)], now=LONG_AFTER).delivered == "yes"


FATES = {
    "answered": ("received", True), "late": ("received", False), "too_late": ("received", False),
    "expired": ("expired", False), "expired_with_answers": ("expired", False),
    "cancelled": ("cancelled", False), "cancelled_with_answers": ("cancelled", False),
}  # fmt: skip


def micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def fate_of(happenings: Sequence[Happening]) -> str:
    """What a night would count, of the same happenings."""
    sent = [
        Sent(
            place, UUID(int=1), each.complete, None if each.at is None else micros(each.at), micros(each.told), 1, "{}"
        )
        for place, each in enumerate(happenings)
        if each.kind == "received"
    ]
    off = called_off(happenings)
    events = {"expired": sum(each.kind == "expired" for each in happenings), "cancelled": len(off)}
    starts = [each.moment for each in happenings if each.kind in {"started", "completed", "received"}]
    starts += [each.started_at for each in happenings if each.started_at is not None]
    began = micros(min(starts)) if starts else None
    window = Window(micros(PROMPT.expires_at), PROMPT.grace_minutes * 60_000_000, began)
    return fate(sorted(sent, key=lambda each: each.order), events, window, 30).status


@settings(derandomize=True, deadline=None)
@given(st.lists(FROM_PHONES, max_size=6), st.lists(FROM_SERVER, max_size=3))
def test_the_state_agrees_with_what_an_analysis_counts(of_phone: list[Happening], of_server: list[Happening]) -> None:
    happenings = sorted([PLANNED, *of_phone, *of_server], key=lambda each: each.order)
    off = called_off(happenings)
    answered = any(each.kind == "received" for each in happenings)
    # Such prompts are no rows of an analysis: `sampling.queries.not_asked`.
    assume(answered or all(each.by_phone for each in off))
    found, became = prompt_state(PROMPT, happenings, now=LONG_AFTER), fate_of(happenings)
    if became == "no_record":
        assert found.state in {"lapsed", "completed", "uploaded"}
    else:
        assert (found.state, found.in_time) == FATES[became]


def test_an_answer_without_a_believable_clock_is_counted_by_a_night_and_judged_by_its_receipt_here() -> None:
    happenings = [phone("received", None, told=500)]
    found = known(*happenings)
    assert fate_of(happenings) == "answered"
    assert (found.state, found.in_time, found.judged_by) == ("received", False, "server")
