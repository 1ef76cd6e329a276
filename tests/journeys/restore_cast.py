"""A small server in a database of its own, and a phone that speaks to it: `python -m tests.journeys.restore_cast VERB`.

The restore drill runs it in processes of their own, on the database that is backed up and on the one that is restored.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ema_server.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import CommandError, call_command  # noqa: E402
from django_scopes import scopes_disabled  # noqa: E402

from ema_server.common import clock  # noqa: E402
from ema_server.common.restoring import after_restore  # noqa: E402
from ema_server.erasure import services  # noqa: E402
from ema_server.ledger import audit  # noqa: E402
from ema_server.participants.models import Participant  # noqa: E402
from ema_server.responses.models import Submission  # noqa: E402
from ema_server.studies.models import Study  # noqa: E402

settings.ALLOWED_HOSTS = ["testserver"]


def build(folder: str) -> dict[str, Any]:
    """Four people answer, one of them with texts that tell who they are, and all of it is backed up."""
    from tests.planted import WITH_TEXT, plant_in  # loads the engine, which the other verbs do without
    from tests.world import FakePhone, live_study, researcher

    study = live_study(researcher(), slug="drill", survey=WITH_TEXT)
    _, planted = plant_in(study)
    phones = [FakePhone(study, pseudonym=f"P{n}").enrolled() for n in range(3)]
    items = [phone.item(n, answers={"support": 10 * n, "stress": 5}) for phone in phones for n in range(4)]
    for place, phone in enumerate(phones):
        assert {receipt["status"] for receipt in phone.submit(*items[4 * place : 4 * place + 4])} == {"stored"}
        phone.report(5, "dismissed")
    refused = phones[0].submit(phones[0].item(6, answers={"support": "Ünïcode \t\\N \n'"}))
    assert refused[0]["status"] == "rejected"
    keys = {person.pseudonym: str(person.key_id) for person in Participant.objects.all()}
    call_command("backup", "--to", folder + "/main", "--keys-to", folder + "/keys")
    planned = phones[0].call("GET", "sync").json()["prompts"]
    return {"prompts": len(planned), "token": phones[0].token, "item": items[0], "keys": keys,
        "texts": planted.texts, "sealed": planted.sealed}  # fmt: skip


def ask(token: str, item: str) -> dict[str, Any]:
    """What the phone hears when it syncs, sends its first answer again, and sends another."""
    from tests.world import FakePhone

    phone = FakePhone(Study.objects.get(slug="drill"), token=token)
    phone.prompts = phone.call("GET", "sync").json()["prompts"]
    again = phone.submit(json.loads(item))
    new = phone.submit(phone.item(9))
    return {
        "prompts": len(phone.prompts),
        "again": again[0]["status"],
        "new": new[0]["status"],
        "submissions": Submission.objects.count(),
        "audit_faults": [str(fault) for chain in audit.chains() for fault in audit.verify(chain)],
    }


def find(*texts: str) -> dict[str, Any]:
    """Which of these texts stand anywhere in the two databases."""
    from tests.planted import everything, holds

    rows = everything()
    return {"found": [text for text in texts if holds(rows, text)]}


def refusals(*restores: str) -> list[str]:
    """What each of these restores is refused with; arguments within one are parted by a line break."""
    said = []
    for arguments in restores:
        try:
            call_command("restore", *arguments.split("\n"))
        except CommandError as error:
            said.append(str(error))
        else:
            raise AssertionError(f"{arguments} was restored")
    return said


def erase(pseudonym: str) -> dict[str, Any]:
    services.erase(participant=Participant.objects.get(pseudonym=pseudonym), now=clock.now())
    return {}


def restore_with_a_room_that_fails(main: str, keys: str) -> dict[str, Any]:
    """A room's work after the restore sees all rows, and its failure stops the restore."""
    seen = []

    def fails() -> None:
        seen.append(Submission.objects.count())
        raise RuntimeError

    after_restore(fails)
    try:
        call_command("restore", main, "--keys", keys)
    except RuntimeError:
        return {"seen": seen}
    raise AssertionError("it went on")


def migrate() -> dict[str, Any]:
    for database in ("default", "keys"):
        call_command("migrate", database=database, verbosity=0)
    return {}


def main(verb: str, *arguments: str) -> None:
    verbs = {
        "migrate": migrate,
        "build": build,
        "ask": ask,
        "erase": erase,
        "find": find,
        "refusals": refusals,
        "fail": restore_with_a_room_that_fails,
    }
    with scopes_disabled():
        print(json.dumps(verbs[verb](*arguments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
