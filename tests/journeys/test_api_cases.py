"""schemathesis calls every operation with what the document allows and with what it forbids: no 5xx, and every answer is as
documented. Drawn alike in every run; `make prove ONLY=api` runs 2,000 cases.

Half of the allowed bodies name what this study has (its questionnaire, a prompt, a code), so that they go all the way in.
Each case is undone after it.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.core.cache import cache
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from django_scopes.state import state
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks

from ema_server.api_document import written
from ema_server.participants.services import invite
from ema_server.wsgi import application
from tests.world import NOW, FakePhone, live_study

CASES = int(os.environ.get("API_CASES", 300))
SIGNALS = (request_started, request_finished)
ALIASES = ("default", "keys")
OPEN = 5  # cases of a call without a credential or a body
BATCHES = {"submit", "report_prompt_events", "report_device"}  # an item's fault is its receipt's, in an answer of 200
LENIENT = {"manifest"} | BATCHES
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.ignored_auth,
    schemathesis.checks.not_a_server_error,
]

pytestmark = pytest.mark.django_db


def within_the_study(value: Any, known: dict[str, Any]) -> Any:
    """The same body with names that this study has."""
    if isinstance(value, dict):
        return {key: known.get(key, within_the_study(each, known)) for key, each in value.items()}
    if isinstance(value, list):
        return [within_the_study(each, known) for each in value]
    return value


@contextmanager
def undone() -> Iterator[None]:
    """What happens in it has not happened. A request begins without any scope, and leaves the test's connection open."""
    token = state.set(None)
    for signal in SIGNALS:
        signal.disconnect(close_old_connections)
    with ExitStack() as stack:
        for alias in ALIASES:
            stack.enter_context(transaction.atomic(using=alias))
        try:
            yield
        finally:
            for alias in ALIASES:
                transaction.set_rollback(True, using=alias)
            state.reset(token)
            for signal in SIGNALS:
                signal.connect(close_old_connections)


def needs_credential(operation: Any) -> bool:
    return bool(operation.definition.raw.get("security"))


def draw(operation: Any, mode: GenerationMode, count: int, attempt: Callable[[Case, bool], None]) -> None:
    """So many cases of one call, the same in every run."""

    @settings(
        max_examples=count, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
    def drawn(case: Case, real: bool) -> None:
        attempt(case, real and mode is GenerationMode.POSITIVE)

    drawn()


def run(case: Case, token: str) -> int:
    """One call, looked at from all sides; its status."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with undone():
        response = case.call(headers=headers)
        looking = list(CHECKS)
        negative = case.meta is not None and case.meta.is_negative_at(ParameterLocation.BODY)
        if negative and case.operation.definition.raw["operationId"] not in LENIENT:
            looking.append(checks.negative_data_rejection)
        case.validate_response(response, checks=looking, headers=headers)
    status: int = response.status_code
    return status


@pytest.mark.timeout(1800)
def test_what_the_document_allows_and_forbids_is_answered_as_it_says() -> None:
    logging.getLogger("ema_server.access").setLevel(logging.ERROR)
    study = live_study()
    phone = FakePhone(study).enrolled()
    known = {
        "code": invite(study=study, pseudonym="P2", now=NOW)[1],
        "prompt": phone.prompts[0]["id"],
        "questionnaire": "momentary",
        "survey_version": 1,
        "answers": {"support": 60, "stress": 30},
        "shown": ["support", "stress"],
        "version": "1",
        "zone": "Europe/Lisbon",
    }
    schema = schemathesis.openapi.from_dict(json.loads(written("json")[0]))
    schema.app = application
    operations = [found.ok() for found in schema.get_all_operations()]
    small = [each for each in operations if not each.body and not needs_credential(each)]
    share = -(-(CASES - OPEN * len(small)) // (len(operations) - len(small)))
    answered: dict[str, Counter[int]] = defaultdict(Counter)
    faults: dict[str, str] = {}

    def attempt(case: Case, real: bool) -> None:
        cache.clear()  # limits on wrong codes
        if real:
            case.body = within_the_study(case.body, known)
        statuses, name = answered[case.operation.label], case.operation.label
        try:
            statuses[run(case, phone.token if needs_credential(case.operation) else "")] += 1
        except FailureGroup as error:
            statuses[0] += 1
            for each in error.exceptions:
                faults.setdefault(f"{name}: {each.title}", f"{each}\n{case.as_curl_command()}")

    for operation in operations:
        count = OPEN if operation in small else share
        draw(operation, GenerationMode.POSITIVE, count - count // 3, attempt)
        draw(operation, GenerationMode.NEGATIVE, count // 3, attempt)

    if record := os.environ.get("API_RECORD"):
        figures = {
            "cases": sum(sum(each.values()) for each in answered.values()),
            "calls": len(answered),
            "server_errors": sum(
                count for each in answered.values() for status, count in each.items() if status >= 500
            ),
            "faults": len(faults),
            "statuses": {call: dict(sorted(each.items())) for call, each in answered.items()},
        }
        Path(record).write_text(json.dumps(figures))
    assert not faults, "\n\n".join(f"{name}\n{told}" for name, told in faults.items())
    assert sum(sum(each.values()) for each in answered.values()) >= CASES
    for operation in operations:
        assert any(status < 300 for status in answered[operation.label]), (
            f"{operation.label} was never answered with 2xx"
        )
