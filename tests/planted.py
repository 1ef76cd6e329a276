"""What may not be found afterwards: a person who leaves telling texts everywhere, and a look into every table."""

from __future__ import annotations

from unittest.mock import patch
from uuid import uuid4

from django.db import connections

from ema_server.participants.models import Participant
from ema_server.participants.person_data import import_person_table
from ema_server.participants.services import record_identity
from ema_server.responses.models import Quarantined, Submission
from ema_server.studies.models import Study
from tests.world import SURVEY, FakePhone

WITH_TEXT = {**SURVEY, "items": [*SURVEY["items"], {"name": "words", "type": "text", "text": "?", "required": False}]}


class Planted:
    """Twenty texts, each telling, each put in another place of one person's life."""

    def __init__(self) -> None:
        self.texts = [f"planted{number:02d}{uuid4().hex[:12]}" for number in range(20)]
        self._next = iter(self.texts)
        self.sealed: list[str] = []  # those that are ciphertext from the beginning

    def text(self, *, sealed: bool = True) -> str:
        found = next(self._next)
        if sealed:
            self.sealed.append(found)
        return found


def plant_in(study: Study) -> tuple[FakePhone, Planted]:
    """One more person, P77, who leaves twenty texts of theirs everywhere that a text can go, and sixteen answers."""
    planted = Planted()
    open_ = planted.text
    phone = FakePhone(study, pseudonym="P77")
    body_device = {
        "platform": open_(sealed=False),
        "os_version": open_(sealed=False),
        "app_version": open_(sealed=False),
    }
    with patch.object(FakePhone, "enrolment", lambda self, code: {
        "code": code, "zone": self.zone, "device": body_device,
        "consent": {"version": open_(sealed=False), "given_at": "2026-03-01T09:00:00+01:00"},
    }):  # fmt: skip
        phone.enrolled()
    report = {**body_device, "id": str(uuid4()), "at": "2026-03-02T11:00:00+01:00", "battery": 0.5}
    assert phone.call("POST", "device-reports", {"reports": [report]}).json()["receipts"][0]["status"] == "stored"
    person = Participant.objects.get(pseudonym="P77")
    facts = {name: planted.text() for name in ("name", "email", "phone", "note")}
    record_identity(participant=person, facts=facts, actor="user:1")
    record_identity(participant=person, facts={"name": planted.text()}, actor="user:1", reason=planted.text())
    import_person_table(study=study, rows={"P77": {"nick": open_(sealed=False)}, "P1": {"nick": "other"}})
    base = {"support": 50, "stress": 50}
    said = phone.item(0, answers={**base, "words": planted.text()}, mood_board=planted.text(), zone=planted.text())
    phone.submit(said)
    phone.submit({**said, "answers": {**base, "words": planted.text()}})  # a conflict
    phone.submit(phone.item(1, answers={**base, "words": planted.text(), planted.text(): 1}))  # an unknown item
    phone.submit(phone.item(2, answered_at=planted.text()), phone.item(3, questionnaire=planted.text()))
    phone.report(4, "dismissed", reason=planted.text() + " and more")
    phone.submit(*(phone.item(n, answers={"support": n, "stress": 2 * n % 50}) for n in range(5, 20)))
    assert list(planted._next) == [], "each of the twenty is planted"
    assert (
        Quarantined.objects.filter(participant=person).count(),
        Submission.objects.filter(participant=person).count(),
    ) == (3, 16)
    return phone, planted


def everything() -> str:
    """Every row of every table of both databases as text; bytes as hexadecimal, as PostgreSQL writes them."""
    found = []
    for alias in connections:
        with connections[alias].cursor() as cursor:
            for table in connections[alias].introspection.table_names(cursor):
                cursor.execute(f'SELECT t::text FROM "{table}" t')
                found += [row[0] for row in cursor.fetchall()]
    return "\n".join(found)


def holds(haystack: str, needle: str) -> bool:
    return needle in haystack or needle.encode().hex() in haystack
