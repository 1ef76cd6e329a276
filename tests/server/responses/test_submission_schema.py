"""`POST submissions` is decoded by hand, for speed, and describes its body by hand: the two say the same."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from ema_server.api_document import document, written
from ema_server.common.batch import raw_parts
from ema_server.common.phone_time import parse_phone_time
from ema_server.responses.services import MAX_ITEMS, SubmissionIn
from tests.documented import is_uuid
from tests.world import FakePhone, live_study

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
    | st.text(max_size=8)
    | st.uuids().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # 1.0 is an integer to a schema and none to the decoder; clients of no language write one where the other is meant
MANY = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def body_schema() -> dict[str, Any]:
    """What the document says of a batch."""
    (schema,) = (
        operation["requestBody"]["content"]["application/json"]["schema"]
        for path in document()["paths"].values()
        for operation in path.values()
        if operation["operationId"] == "submit"
    )
    name = schema["$ref"].rsplit("/", 1)[1]
    found: dict[str, Any] = document()["components"]["schemas"][name]
    return found


@cache
def item_validator() -> Draft202012Validator:
    """Of one item, by the document. The decoder leaves times to the service."""
    whole = {
        **body_schema()["properties"]["items"]["items"],
        "components": {"schemas": document()["components"]["schemas"]},
    }
    formats = {"uuid": is_uuid, "date-time": lambda _: True}
    return Draft202012Validator(json.loads(json.dumps(whole)), validate_formats=True, formats=formats)


def is_decoded(item: Any) -> bool:
    try:
        msgspec.json.decode(json.dumps(item).encode(), type=SubmissionIn)
    except msgspec.MsgspecError:
        return False
    return True


def batches() -> st.SearchStrategy[list[Any]]:
    """The items of bodies that the document allows."""
    schema = schemathesis.openapi.from_dict(json.loads(written("json")[0]))
    (submit,) = (
        found.ok() for found in schema.get_all_operations() if found.ok().definition.raw["operationId"] == "submit"
    )
    return submit.as_strategy().map(lambda case: case.body["items"])


@st.composite
def changed(draw: st.DrawFn) -> Any:
    """An item of an allowed body with a member taken away, added or exchanged."""
    item = dict(draw(batches().filter(bool))[0])
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from([*SubmissionIn.__struct_fields__, "something_else"]))
        if draw(st.booleans()):
            item.pop(name, None)
        else:
            item[name] = draw(JSON)
    return draw(st.sampled_from([item] * 9 + [draw(JSON)]))


@MANY
@given(items=batches())
def test_what_the_document_allows_is_decoded_and_its_times_are_read(items: list[Any]) -> None:
    parts = raw_parts(json.dumps({"items": items}).encode(), "items")
    assert [json.loads(part) for part in parts] == items
    for item in items:
        assert is_decoded(item), item
        for name in ("answered_at", "started_at"):
            assert item.get(name) is None or parse_phone_time(item[name]) is not None, item[name]


def test_the_decoder_takes_what_the_document_allows_and_nothing_else() -> None:
    verdicts = []

    @MANY
    @given(item=changed())
    def compared(item: Any) -> None:
        verdicts.append(is_decoded(item))
        assert verdicts[-1] == item_validator().is_valid(item), item

    compared()
    assert len(set(verdicts)) == 2  # some were taken and some were not


def test_the_document_has_every_field_of_the_decoder_and_its_limits() -> None:
    items = body_schema()["properties"]["items"]
    assert (items["minItems"], items["maxItems"]) == (1, MAX_ITEMS)
    item = document()["components"]["schemas"][items["items"]["$ref"].rsplit("/", 1)[1]]
    assert set(item["properties"]) == set(SubmissionIn.__struct_fields__)
    required = SubmissionIn.__struct_fields__[: -len(SubmissionIn.__struct_defaults__)]
    assert set(item["required"]) == set(required)


@pytest.mark.django_db
def test_an_empty_batch_and_one_too_many_are_refused_whole() -> None:
    phone = FakePhone(live_study()).enrolled()
    empty = phone.call("POST", "submissions", {"items": []})
    assert (empty.status_code, empty.json()["code"]) == (400, "malformed")
    assert f"1 to {MAX_ITEMS}" in empty.json()["detail"]
    full = phone.call("POST", "submissions", {"items": [{}] * (MAX_ITEMS + 1)})
    assert (full.status_code, full.json()["code"], full.json()["limit_items"]) == (413, "batch_size", MAX_ITEMS)
