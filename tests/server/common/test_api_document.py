"""The phone API's document is whole: every route, every method, every code, an example of each body, and named shapes."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework import exceptions

import ema_server
from ema_server.api_document import EXAMPLES, document
from ema_server.api_words import TAGS
from ema_server.common.errors import DomainError
from ema_server.common.openapi import ALWAYS, PROBLEM_TYPE, WITH_BODY, WITH_CREDENTIAL, declared_codes
from ema_server.common.problem_codes import PROBLEM_CODES, RECEIPT_CODES
from tests.documented import codes_of, part, validator_of

ROOT = Path(ema_server.__file__).parent
PAGES_ALONE = {  # codes that researchers' pages, forms and commands give, never a phone's call
    "permission_denied": "of the pages: a phone that may not gets 401 or 404",
    "csrf_failed": "forms alone: phones have no cookies",
}
METHODS = ("get", "post", "put", "patch", "delete")


def routes() -> dict[str, Any]:
    """Every address of the API with its view."""
    found = {}

    def walk(patterns: list[URLPattern | URLResolver], prefix: str) -> None:
        for pattern in patterns:
            path = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                walk(pattern.url_patterns, path)
            elif path.startswith("api/"):
                found["/" + path] = pattern.callback.cls  # type: ignore[attr-defined]

    walk(get_resolver().url_patterns, "")
    return found


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def bodies() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every JSON body that is no problem: its call, whether it is a request or a response, and its part of the document."""
    for call, operation in operations():
        if "requestBody" in operation:
            yield call, "request", operation["requestBody"]["content"]["application/json"]
        for status, answer in operation["responses"].items():
            if status[0] == "2" and "application/json" in part(answer).get("content", {}):
                yield call, "response", part(answer)["content"]["application/json"]


def test_every_route_is_in_the_document_with_every_method() -> None:
    views = routes()
    assert set(views) == set(document()["paths"])
    for path, view in views.items():
        assert set(document()["paths"][path]) == {method for method in METHODS if hasattr(view, method)}, path
    assert document()["openapi"].startswith("3.1")


@pytest.mark.django_db
def test_a_method_that_is_not_in_the_document_is_refused() -> None:
    for path, methods in document()["paths"].items():
        for method in {*METHODS, "options", "trace"} - set(methods):
            answer = Client(raise_request_exception=False).generic(method.upper(), path)
            assert answer.status_code in {401, 405}, (method, path)


def test_spectacular_finds_no_fault_and_warns_of_nothing(tmp_path: Path) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "document.yaml"))


def test_what_is_committed_is_what_the_code_says() -> None:
    call_command("api_document", "--check")


def test_each_call_has_a_name_a_tag_and_words() -> None:
    tags = {tag["name"] for tag in TAGS}
    names = [operation["operationId"] for _, operation in operations()]
    assert len(names) == len(set(names))
    for call, operation in operations():
        assert operation["summary"].endswith("."), call
        assert operation["description"], call
        assert len(operation["tags"]) == 1, f"{call}: write its path's first word into one tag of api_words.TAGS"
        assert set(operation["tags"]) <= tags
        for status, answer in operation["responses"].items():
            assert part(answer)["description"], (call, status)
    assert document()["info"]["license"]["identifier"] == "Apache-2.0"
    assert [server["url"] for server in document()["servers"]] == ["/"]


def test_every_body_is_a_named_shape() -> None:
    for call, kind, media in bodies():
        assert set(media["schema"]) == {"$ref"}, f"{call}: give the {kind}'s body a name (a struct, or `any_object`)"

    def anonymous(node: Any, place: str) -> Iterator[str]:
        if isinstance(node, dict):
            if "properties" in node:
                yield place
            for key, value in node.items():
                yield from anonymous(value, f"{place}.{key}")

    for name, schema in document()["components"]["schemas"].items():
        for key, value in schema.get("properties", {}).items():
            assert list(anonymous(value, f"{name}.{key}")) == [], "an object within an object has a struct of its own"


def test_every_body_has_an_example_that_fits() -> None:
    for call, kind, media in bodies():
        assert "example" in media, f"{call}: write an example of the {kind} into {EXAMPLES.name}"
        errors = list(validator_of(media["schema"]).iter_errors(media["example"]))
        assert errors == [], f"{call}: {kind}"
    known = {operation["operationId"] for _, operation in operations()}
    assert set(json.loads(EXAMPLES.read_text())) <= known, "an example of a call that there is not"


def test_each_call_has_the_codes_that_all_share() -> None:
    for call, operation in operations():
        codes = set(codes_of(operation))
        assert codes >= set(ALWAYS), call
        assert (codes >= set(WITH_CREDENTIAL)) == bool(operation.get("security")), call
        assert codes >= set(WITH_BODY) or "requestBody" not in operation, call
        for status, answer in operation["responses"].items():
            for code in declared_codes(part(answer)):
                assert PROBLEM_CODES[code].status == int(status), (call, code)
            if status[0] in "45":
                assert set(part(answer)["content"]) == {PROBLEM_TYPE}, (call, status)
            assert "X-Request-ID" in part(answer)["headers"], (call, status)


def test_every_code_of_the_catalogue_belongs_to_a_call() -> None:
    assert {code for _, operation in operations() for code in codes_of(operation)} == set(PROBLEM_CODES)


def codes_in_the_sources() -> dict[str, set[int]]:
    """Every code of an error in the sources, with its statuses: `problem(409, "code", …)`, `_answer(request, 409, "code", …)`,
    classes with a `code`, and `AuthenticationFailed(…, code="code")`."""
    found: dict[str, set[int]] = {}
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                values = [each.value for each in node.args if isinstance(each, ast.Constant)]
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name in {"problem", "_answer"} and len(values) > 1 and isinstance(values[0], int):
                    found.setdefault(str(values[1]), set()).add(values[0])
                for word in node.keywords:
                    if name == "AuthenticationFailed" and word.arg == "code" and isinstance(word.value, ast.Constant):
                        found.setdefault(str(word.value.value), set()).add(401)
    return found


def errors_of_rules() -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    classes = [DomainError]
    for each in classes:
        classes += each.__subclasses__()
        if each.__module__.startswith("ema_server."):
            found.setdefault(each.code, set()).add(each.status)
    return found


def test_each_code_of_the_catalogue_has_one_status_in_the_sources() -> None:
    sources = codes_in_the_sources()
    for code, statuses in errors_of_rules().items():
        sources.setdefault(code, set()).update(statuses)
    for each in (
        exceptions.NotAuthenticated, exceptions.MethodNotAllowed, exceptions.NotAcceptable,
        exceptions.UnsupportedMediaType, exceptions.Throttled,
    ):  # fmt: skip
        sources.setdefault(each.default_code, set()).add(each.status_code)
    for code in ("revoked", "replaced"):  # how a credential was closed: `authentication.closed_code`
        sources.setdefault(code, set()).add(401)
    for code, entry in PROBLEM_CODES.items():
        assert sources.get(code) == {entry.status}, f"{code} is {entry.status} in the catalogue"


def test_each_code_that_a_view_writes_is_in_the_catalogue() -> None:
    unknown = set(codes_in_the_sources()) - set(PROBLEM_CODES)
    assert unknown == set(PAGES_ALONE), "add it to problem_codes, or say why no phone gets it"


def test_the_document_says_what_a_phone_does_with_each_part_of_a_prompt() -> None:
    schemas = document()["components"]["schemas"]
    prompt, follow_up = schemas["PromptOut"]["properties"], schemas["FollowUpOut"]["properties"]
    for name in ("id", "scheduled_at", "expires_at", "grace_minutes", "remind_at"):
        assert prompt[name]["description"], name
    for name in ("after", "minutes", "condition", "at_most", "gap_minutes", "waking"):
        assert follow_up[name]["description"], name
    event = schemas["EventIn"]["properties"]
    assert "dismissed" in event["kind"]["description"]
    assert "do_not_disturb" in event["code"]["description"]
    assert prompt["scheduled_at"]["format"] == "date-time"
    assert prompt["remind_at"]["items"]["format"] == "date-time"
    assert prompt["id"]["format"] == "uuid"
    for code in RECEIPT_CODES:
        assert f"`{code}`" in schemas["Receipt"]["properties"]["code"]["description"]


@pytest.mark.django_db
def test_the_document_is_served_as_json_and_yaml_and_not_made_twice() -> None:
    client = Client()
    plain = client.get("/api/v1/schema")
    assert plain["Content-Type"] == "application/json"
    assert plain.json() == json.loads(json.dumps(document()))
    as_yaml = client.get("/api/v1/schema?format=yaml")
    assert as_yaml["Content-Type"] == "application/yaml"
    assert yaml.safe_load(as_yaml.content) == plain.json()
    accepted = client.get("/api/v1/schema", headers={"Accept": "application/vnd.oai.openapi"})
    assert accepted.content == as_yaml.content
    assert document() is document()
    again = client.get("/api/v1/schema", headers={"If-None-Match": plain["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/api/v1/schema?format=xml").status_code == 404
    assert client.get("/api/v1/schema", headers={"Accept": "text/html"}).status_code == 406
