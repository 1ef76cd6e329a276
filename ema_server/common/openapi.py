"""msgspec's shapes in the API's document: one source for what is decoded and what is described."""

from __future__ import annotations

from typing import Any

import msgspec


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
