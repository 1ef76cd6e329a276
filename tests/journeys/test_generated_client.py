"""A client that openapi-python-client makes of the API's document works as it comes, against a real server."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from ema_server.api_document import document, written
from ema_server.participants.services import invite
from tests.world import MONDAY, NOW, live_study

NAME = "generated_ema_client"
CONFIG = '{"post_hooks": []}'  # nothing is repaired after it: no formatter, no linter


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package, made by the generator's own command; it warns of nothing."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_bytes(written("json")[0])
    (folder / "config.json").write_text(CONFIG)
    made = subprocess.run(
        [
            str(Path(sys.executable).with_name("openapi-python-client")), "generate", "--meta", "none",
            "--path", "openapi.json", "--config", "config.json", "--output-path", NAME, "--fail-on-warning",
        ],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    assert made.stdout.split() == ["Generating", NAME], made.stdout
    assert made.stderr == ""
    sys.path.insert(0, str(folder))
    yield folder / NAME
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] == NAME]:
        del sys.modules[name]


def part(name: str) -> Any:
    return importlib.import_module(f"{NAME}.{name}")


def test_each_call_is_a_function_and_no_class_has_a_made_up_name(generated: Path) -> None:
    calls = {path.stem for path in (generated / "api").glob("*/*.py") if path.stem != "__init__"}
    asked = {operation["operationId"] for path in document()["paths"].values() for operation in path.values()}
    assert calls == asked
    models = {path.stem for path in (generated / "models").glob("*.py")}
    assert not {
        name for name in models if "response_2" in name or "_body" in name or "_type_" in name or "_item" in name
    }


@pytest.mark.django_db(transaction=True)
def test_a_generated_client_enrols_syncs_submits_and_reads_problems(generated: Path, live_server: Any) -> None:
    models = part("models")
    study = live_study()
    today = datetime.now(UTC).date()
    type(study).objects.filter(pk=study.pk).update(ends_on=today + timedelta(days=20))
    _, code = invite(study=study, pseudonym="P1", now=NOW, first_day=MONDAY, last_day=MONDAY + timedelta(days=6))
    anybody = part("client").Client(base_url=live_server.url, raise_on_unexpected_status=True)

    shown = part("api.enrolment.preview_enrolment").sync(client=anybody, body=models.PreviewIn(code=code))
    assert shown.study.slug == study.slug
    consent = models.ConsentIn(version="1", given_at=datetime(2026, 3, 1, 9, tzinfo=UTC))
    entry = models.EnrolmentIn(code=code, zone="Europe/Amsterdam", consent=consent)
    place = part("api.enrolment.enrol").sync(client=anybody, body=entry)
    assert (place.participant, place.study.slug) == ("P1", study.slug)
    refused = part("api.enrolment.enrol").sync_detailed(client=anybody, body=entry)
    assert refused.status_code == 409
    assert isinstance(refused.parsed, models.Problem)
    assert (refused.parsed.code, refused.parsed.status) == ("code_not_valid", 409)
    assert "code" in refused.parsed.detail.lower()

    phone = part("client").AuthenticatedClient(
        base_url=live_server.url, token=place.token, raise_on_unexpected_status=True
    )
    found = part("api.schedule.sync").sync_detailed(client=phone, x_request_id=str(uuid4()))
    known = found.parsed
    assert known.prompts
    assert all(isinstance(prompt.id, UUID) and prompt.scheduled_at.tzinfo for prompt in known.prompts)
    assert isinstance(known.server_time, datetime)
    unchanged = part("api.schedule.sync").sync_detailed(client=phone, if_none_match=found.headers["ETag"])
    assert (unchanged.status_code, unchanged.parsed) == (304, None)

    prompt = known.prompts[0]
    answers = models.SubmissionInAnswers.from_dict({"support": 60, "stress": 30})
    item = models.SubmissionIn(
        client_id=uuid4(), questionnaire=prompt.questionnaire, survey_version=prompt.survey_version,
        answers=answers, answered_at=prompt.scheduled_at + timedelta(minutes=5), prompt=prompt.id,
    )  # fmt: skip
    strange = models.SubmissionIn.from_dict({**item.to_dict(), "client_id": str(uuid4()), "survey_version": 99})
    submit = part("api.answers.submit")
    receipts = submit.sync(client=phone, body=models.BatchOfSubmissions(items=[item, strange])).receipts
    assert [receipt.status for receipt in receipts] == [models.ReceiptStatus.STORED, models.ReceiptStatus.REJECTED]
    assert receipts[1].code == "unknown_survey_version"
    again = submit.sync(client=phone, body=models.BatchOfSubmissions(items=[item])).receipts
    assert again[0].status == models.ReceiptStatus.DUPLICATE

    event = models.EventIn(id=uuid4(), prompt=prompt.id, kind="opened", at=prompt.scheduled_at)
    told = part("api.schedule.report_prompt_events").sync(client=phone, body=models.EventsIn(events=[event]))
    assert [receipt.status.value for receipt in told.receipts] == ["stored"]
    report = models.ReportIn(id=uuid4(), at=prompt.scheduled_at, battery=0.5)
    told = part("api.phone.report_device").sync(client=phone, body=models.ReportsIn(reports=[report]))
    assert [receipt.status for receipt in told.receipts] == ["stored"]
    moved = part("api.phone.update_device").sync(client=phone, body=models.DeviceIn(zone="Europe/Lisbon"))
    assert moved.prompts_moved >= 0
    wrong = part("api.phone.update_device").sync(client=phone, body=models.DeviceIn(zone="Mars/Olympus"))
    assert (wrong.code, list(wrong.errors.additional_properties)) == ("invalid_body", ["zone"])
    fresh = part("api.phone.rotate_credential").sync(client=phone)
    assert fresh.token != place.token
    stranger = part("client").AuthenticatedClient(base_url=live_server.url, token="nobody's")
    assert part("api.schedule.sync").sync(client=stranger).code == "unknown_credential"
    assert part("api.documents.api_document").sync(client=anybody)["openapi"].startswith("3.1")
