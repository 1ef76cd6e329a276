"""A reference client for the phone API, in Python: small, typed, and honest about what it knows.

It does what an app has to do so that nothing acknowledged is lost and nothing is stored twice, and can be read as a recipe
for another language. `docs/phone-api.md` explains the API; nothing here imports the server.

    from ema_client import Client, Store, Submission

    phone = Client("https://ema.example.org", Store("phone.db"))

    preview = phone.preview("ABCDE-FGHJK")            # study, languages, consent text: show them
    phone.enrol("ABCDE-FGHJK", zone="Europe/Amsterdam", agreed_at="2026-03-02T09:00:00+01:00", consent=preview.consent)

    sync = phone.sync()                               # questionnaires, prompts, reminders: all that is needed offline
    for moment, prompt in notifications(sync, now=datetime.now(UTC)):
        ...                                           # plan local notifications; iOS keeps 64

    phone.keep(Submission(                            # durable when it returns; no network is needed
        client_id=draft_id,                           # the UUID that this draft got when it was opened
        prompt=prompt, questionnaire="momentary", survey_version=1,
        answers={"stress": 30}, answered_at="2026-03-02T10:04:11+01:00", zone="Europe/Amsterdam"))

    phone.upload()                                    # Counter({'stored': 1}); whenever there is a network
    phone.verify()                                    # forgets what the server proves to hold, and nothing else

    phone.pause(); phone.resume(); phone.export(); phone.rotate(); phone.withdraw(erase=True)

What each call may raise:

    Later           no network or "not now" for longer than one wants to wait: nothing is lost, call again after `.after` seconds
    Refused         no, for good: `.status`, `.code` and `.problem` say why
    Closed          (a Refused) this phone may not speak any more: revoked, replaced, erased. What waits may still be uploaded
                    once, into quarantine, so call `upload()` and then stop
    NotUnderstood   the other side is no EMA server, or a broken one: everything is kept

Killed between any two lines, an app starts again with the same `Store` and says the same things again: every id is made and kept
before it is sent, every answer of the server is noted in one transaction, and all calls are idempotent.
`tests/client/test_kill_points.py` kills it at each of them.
"""

from ema_client.calls import Closed, Later, NotUnderstood, Refused
from ema_client.client import Client, SuccessorCode, notifications
from ema_client.shapes import (
    ConsentText,
    DeviceReport,
    Preview,
    Prompt,
    PromptEvent,
    Receipt,
    Submission,
    SurveyVersion,
    Sync,
)
from ema_client.store import Kept, Settled, Store

__all__ = [
    "Client", "Closed", "ConsentText", "DeviceReport", "Kept", "Later", "NotUnderstood", "Preview", "Prompt", "PromptEvent",
    "Receipt", "Refused", "Settled", "Store", "Submission", "SuccessorCode", "SurveyVersion", "Sync", "notifications",
]  # fmt: skip
