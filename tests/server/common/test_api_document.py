"""Every phone route is in the OpenAPI document, and every error is a problem document."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.generators import SchemaGenerator

UNDOCUMENTED = {"schema"}  # the document itself


def phone_routes() -> set[str]:
    found = set()

    def walk(patterns: list[URLPattern | URLResolver], prefix: str) -> None:
        for pattern in patterns:
            path = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                walk(pattern.url_patterns, path)
            elif path.startswith("api/v1/") and pattern.name not in UNDOCUMENTED:
                found.add("/" + path)

    walk(get_resolver().url_patterns, "")
    return found


def test_every_phone_route_is_in_the_document() -> None:
    document = SchemaGenerator().get_schema(request=None, public=True)
    assert phone_routes() == set(document["paths"])
    assert document["openapi"].startswith("3.1")
    submit = document["paths"]["/api/v1/submissions"]["post"]
    item = submit["requestBody"]["content"]["application/json"]["schema"]["properties"]["items"]["items"]
    assert "client_id" in item["properties"]


def test_the_document_says_what_a_phone_does_with_each_part_of_a_prompt() -> None:
    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]
    sync = paths["/api/v1/sync"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    prompt, follow_up = sync["prompts"]["items"]["properties"], sync["follow_ups"]["items"]["properties"]
    for name in ("id", "scheduled_at", "expires_at", "grace_minutes", "remind_at"):
        assert prompt[name]["description"], name
    for name in ("after", "minutes", "condition", "at_most", "gap_minutes", "waking"):
        assert follow_up[name]["description"], name
    events = paths["/api/v1/prompt-events"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    event = events["properties"]["events"]["items"]["properties"]
    assert "dismissed" in event["kind"]["description"]
    assert "do_not_disturb" in event["code"]["description"]


@pytest.mark.django_db
def test_the_document_is_served() -> None:
    assert Client().get("/api/v1/schema").status_code == 200
