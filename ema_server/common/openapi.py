"""msgspec's shapes in the API's document: one source for what is decoded and what is described."""

from __future__ import annotations

from typing import Any

import msgspec
from drf_spectacular.utils import OpenApiResponse

from ema_server.common.problem_codes import PROBLEM_CODES


def schema_of(shape: Any) -> dict[str, Any]:
    """The JSON schema of a msgspec type, with its parts written out in place (a reference would point nowhere)."""
    (schema,), parts = msgspec.json.schema_components([shape], ref_template="{name}")

    def inline(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return inline(parts[node["$ref"]])
            return {key: inline(value) for key, value in node.items()}
        if isinstance(node, list):
            return [inline(value) for value in node]
        return node

    result: dict[str, Any] = inline(schema)
    return result


def said(words: str) -> msgspec.Meta:
    """What a field means, for the API's document."""
    return msgspec.Meta(description=words)


class Problem(msgspec.Struct, frozen=True):
    """An error, after RFC 9457. Programs read `code`; `detail` names the field, the value and what would be accepted."""

    type: str
    title: str
    status: int
    code: str
    detail: str


def problems_of(*codes: str) -> dict[tuple[int, str], OpenApiResponse]:
    """The `responses` of a call that may answer with these codes, for `@extend_schema(responses={200: … , **problems_of(…)})`.

    Raises KeyError for a code that `problem_codes` does not know.
    """
    found: dict[int, list[str]] = {}
    for code in codes:
        found.setdefault(PROBLEM_CODES[code].status, []).append(code)
    return {
        (status, "application/problem+json"): OpenApiResponse(
            response=schema_of(Problem),
            description=" ".join(f"`{code}`: {PROBLEM_CODES[code].meaning}" for code in of_status),
        )
        for status, of_status in sorted(found.items())
    }
