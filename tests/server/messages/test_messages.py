"""What a study team writes reaches the phones it was written to, and no log, trail or other person."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ema_server.common import clock
from ema_server.messages.models import Message
from ema_server.messages.services import InvalidMessage, send_message, take_back_message
from ema_server.studies.models import Study
from tests.world import FakePhone, live_study

pytestmark = pytest.mark.django_db


def running_study(**more: Any) -> Study:
    """One that has gone on for three days and does so for ten more."""
    study = live_study(**more)
    today = clock.now().date()
    Study.objects.filter(pk=study.pk).update(starts_on=today - timedelta(days=3), ends_on=today + timedelta(days=10))
    study.refresh_from_db()
    return study


def phone_in(study: Study, pseudonym: str = "P1") -> FakePhone:
    today = clock.now().date()
    return FakePhone(study, pseudonym, today - timedelta(days=3), today + timedelta(days=10)).enrolled()


def at(monkeypatch: pytest.MonkeyPatch, **later: float) -> Any:
    moment = clock.now() + timedelta(**later)
    monkeypatch.setattr(clock, "now", lambda: moment)
    return moment


def test_a_message_reaches_the_phones_it_was_written_to_and_can_be_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    study = running_study()
    phone, other = phone_in(study), phone_in(study, "P2")
    now = clock.now()
    (sent,) = send_message(study=study, to=["P1"], text=" Half of it is done. ", now=now, actor="server")
    send_message(
        study=study, to=["P1", "P2"], text="Until tonight", now=now, actor="server", expires_at=now + timedelta(hours=1)
    )
    before = phone.call("GET", "sync")
    assert {each["text"] for each in before.json()["messages"]} == {"Half of it is done.", "Until tonight"}
    assert [each["text"] for each in other.call("GET", "sync").json()["messages"]] == ["Until tonight"]
    at(monkeypatch, hours=2)
    take_back_message(message=sent, now=clock.now(), actor="server")
    assert phone.call("GET", "sync").json()["messages"] == []
    assert b"Half" not in bytes(Message.objects.filter(pk=sent.pk).values_list("text", flat=True).get())
    for to, text in ((["P1", "P9"], "x"), ([], "x"), (["P1"], " "), (["P1"], "x" * 2001), (["P1"], "a\0b")):
        with pytest.raises(InvalidMessage):
            send_message(study=study, to=to, text=text, now=now, actor="server")
    assert Message.objects.count() == 3
