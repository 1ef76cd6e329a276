"""Every answer that a test gets below /api/ is held against the API's document: a test that meets an undocumented one fails.

Status, content type, headers, the body's schema, the code of a problem document and those of receipts are looked at.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.urls import Resolver404, resolve
from jsonschema_rs import Draft202012Validator, ValidationError

from ema_server.api_document import document
from ema_server.common.openapi import PROBLEM_TYPE, declared_codes
from ema_server.common.problem_codes import PROBLEM_CODES, RECEIPT_CODES

ANYWHERE = {"not_found", "bad_request", "server_error", "unavailable"}  # what an address that is no call's may answer
seen: set[tuple[str, str, int, str]] = set()
"""Route, method, status and code of what was answered since the tests began."""


def check(method: str, path: str, response: Any) -> None:
    """Raises AssertionError where the answer is not as the document says."""
    route = _route(path)
    methods = document()["paths"].get(route, {})
    said = f"{method} {path} → {response.status_code}"
    kind = response.get("Content-Type", "").split(";")[0]
    code = json.loads(response.content)["code"] if kind == PROBLEM_TYPE else ""
    seen.add((route, method, response.status_code, code))
    operation = methods.get({"HEAD": "get"}.get(method, method.lower()))
    if operation is None:
        allowed = {each for other in methods.values() for each in codes_of(other)} | ANYWHERE
        assert code in allowed, f"{said}: the document knows no such call; {response.content[:300]!r}"
        _check_problem(response, code, said)
        return
    documented = _response(operation, response.status_code)
    assert documented is not None, f"{said} {code}: the document has no such status for this call."
    for name, header in documented.get("headers", {}).items():
        assert name in response.headers or not part(header).get("required"), f"{said}: the header {name} is missing."
    content = documented.get("content", {})
    if method == "HEAD" or (not content and not response.content):
        return
    shown = b"a stream" if response.streaming else response.content[:300]
    assert kind in content, f"{said}: the document knows {sorted(content)}, this is {kind!r}; {shown!r}"
    if kind == PROBLEM_TYPE:
        assert code in declared_codes(documented), f"{said}: the code {code} is not documented for this call."
        _check_problem(response, code, said)
    if kind.endswith("json") and not response.streaming:  # what is streamed can be read once
        try:
            validator(route, method.lower(), response.status_code, kind).validate(body := json.loads(response.content))
        except ValidationError as error:
            raise AssertionError(f"{said}: the body is not as documented: {error}") from None
        for receipt in body.get("receipts", ()) if isinstance(body, dict) else ():
            assert receipt.get("code", "") in {"", *RECEIPT_CODES}, f"{said}: RECEIPT_CODES lacks {receipt['code']}."


def _check_problem(response: Any, code: str, said: str) -> None:
    assert code in PROBLEM_CODES, f"{said}: problem_codes lacks {code}."
    assert PROBLEM_CODES[code].status == response.status_code == json.loads(response.content)["status"], (
        f"{said}: {code}"
    )


def _route(path: str) -> str:
    try:
        found = resolve(path, "ema_server.urls")
    except Resolver404:
        return ""
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", found.route)


def part(node: Any) -> Any:
    """What a reference of the document refers to."""
    while "$ref" in node:
        found: Any = document()
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        node = found
    return node


def _response(operation: dict[str, Any], status: int) -> dict[str, Any] | None:
    answer = operation["responses"].get(str(status))
    return None if answer is None else part(answer)


def codes_of(operation: dict[str, Any]) -> list[str]:
    return [code for answer in operation["responses"].values() for code in declared_codes(part(answer))]


@cache
def validator(route: str, method: str, status: int, kind: str) -> Draft202012Validator:
    answer = _response(document()["paths"][route][method], status)
    assert answer is not None
    return validator_of(answer["content"][kind]["schema"])


def validator_of(schema: dict[str, Any]) -> Draft202012Validator:
    """Of a schema within the document, its formats taken at their word."""
    whole = json.loads(json.dumps({**schema, "components": {"schemas": document()["components"]["schemas"]}}))
    return Draft202012Validator(whole, validate_formats=True, formats={"date-time": is_moment, "uuid": is_uuid})


def is_moment(text: str) -> bool:
    """A time with its offset."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def is_uuid(text: str) -> bool:
    """With or without its hyphens, which the decoder takes."""
    return re.fullmatch(
        r"[0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", text
    ) is not None and bool(UUID(text))
