"""The API's document: shapes by name, and every error that a call can answer, each written in one place.

`manage.py api_document` writes the document to docs/openapi.json, and the table of codes to docs/problem-codes.md.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Final

import msgspec
from drf_spectacular.openapi import AutoSchema as SpectacularSchema
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from msgspec import UNSET, UnsetType

from ema_server.common.problem_codes import PROBLEM_CODES, RECEIPT_CODES, title_of

PROBLEM_TYPE: Final = "application/problem+json"
COMPONENTS: Final = "#/components/schemas/"
ALWAYS: Final = (
    "bad_request", "not_found", "method_not_allowed", "not_acceptable", "throttled", "server_error", "unavailable",
)  # fmt: skip
WITH_CREDENTIAL: Final = ("not_authenticated", "malformed_credential", "unknown_credential", "revoked", "replaced")
WITH_BODY: Final = ("malformed", "too_large", "unsupported_media_type")

MOMENTS: Final = re.compile(r"(.+_)?at|since|until|server_time")
"""The names of fields that are times with their offset."""

_parts: dict[str, dict[str, Any]] = {}
"""The schema of each struct that was described, by its name."""


def schema_of(shape: Any) -> dict[str, Any]:
    """The JSON schema of a msgspec type. Structs are referred to by name; `named_parts` puts them into the document."""
    (schema,), parts = msgspec.json.schema_components([shape], ref_template=f"{COMPONENTS}{{name}}")
    for name, part in parts.items():
        part.pop("title", None)  # the name again
        if "description" in part:
            part["description"] = inspect.cleandoc(part["description"]).replace("\n", " ")
        for field, described in part.get("properties", {}).items():
            _name_parts(f"{name}{field.title().replace('_', '')}", described)
            if MOMENTS.fullmatch(field):
                _as_moments(described)
        _plain_pairs(part)
        if _parts.setdefault(name, part) != part:
            raise ValueError(f"Two shapes are called {name}; a generated client can have one class of a name.")
    result: dict[str, Any] = schema
    return result


def _name_parts(name: str, described: dict[str, Any]) -> None:
    """A mapping that may be null gets a name; generators would make one up."""
    for place, part in enumerate(described.get("anyOf", ())):
        if part.get("type") == "object":
            described["anyOf"][place] = named(name, part)


def _as_moments(node: dict[str, Any]) -> None:
    """Texts, those in a list and those that may be null, as times: they stay text in our hands and are dates in clients'."""
    if node.get("type") == "string":
        node["format"] = "date-time"
    for part in [*node.get("anyOf", ()), node.get("items")]:
        if isinstance(part, dict):
            _as_moments(part)


def named(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A shape that no struct has, under a name of its own."""
    _parts[name] = schema
    return {"$ref": f"{COMPONENTS}{name}"}


def any_object(name: str, description: str) -> dict[str, Any]:
    """An object whose members are described elsewhere."""
    return named(name, {"type": "object", "description": description, "additionalProperties": {}})


def _plain_pairs(node: Any) -> None:
    """Tuples of one kind as lists of a fixed length, which every generator of clients knows."""
    if isinstance(node, dict):
        kinds = node.get("prefixItems")
        if kinds and all(kind == kinds[0] for kind in kinds):
            del node["prefixItems"]
            node["items"] = kinds[0]
        for part in node.values():
            _plain_pairs(part)
    elif isinstance(node, list):
        for part in node:
            _plain_pairs(part)


def said(words: str, **more: Any) -> msgspec.Meta:
    """What a field means, for the API's document; `more` are further words of JSON schema, such as format="date-time"."""
    return msgspec.Meta(description=words, extra_json_schema=more or None)


def one_of(*words: str) -> msgspec.Meta:
    """A text that is one of these, for the API's document."""
    return msgspec.Meta(extra_json_schema={"enum": list(words)})


RECEIPT_CODE = msgspec.Meta(
    description="Why, in a word that programs read: "
    + " ".join(f"`{code}`: {meaning}" for code, meaning in RECEIPT_CODES.items()),
    extra_json_schema={"x-extensible-enum": list(RECEIPT_CODES)},
)


class ConsentText(msgspec.Struct, frozen=True):
    """What people agree to, in each language of the study."""

    version: str
    digest: str
    texts: Annotated[dict[str, str], said("by language")]


class Problem(msgspec.Struct, frozen=True):
    """An error, after RFC 9457. Programs read `code`; `detail` names the field, the value and what would be accepted.
    Codes may be added: treat one that is new to you by its `status`."""

    type: str
    title: str
    status: int
    code: Annotated[str, said("docs/problem-codes.md", **{"x-extensible-enum": list(PROBLEM_CODES)})]
    detail: str
    errors: Annotated[dict[str, Any] | UnsetType, said("with `invalid_body`: by field")] = UNSET
    limit_bytes: Annotated[int | UnsetType, said("with `too_large`")] = UNSET
    limit_items: Annotated[int | UnsetType, said("with `batch_size`")] = UNSET
    consent: Annotated[
        ConsentText | UnsetType | None, said("with `consent_outdated`: the text that holds; null where none does")
    ] = UNSET


def problems_of(*codes: str) -> dict[tuple[int, str], OpenApiResponse]:
    """The `responses` of a call that may answer with these codes, for `@extend_schema(responses={200: … , **problems_of(…)})`.

    Those that every call shares (`generic_codes`) need not be named. Raises KeyError for a code that `problem_codes`
    does not know.
    """
    found: dict[int, list[str]] = {}
    for code in codes:
        found.setdefault(PROBLEM_CODES[code].status, []).append(code)
    return {
        (status, PROBLEM_TYPE): OpenApiResponse(
            response=schema_of(Problem),
            examples=[OpenApiExample(code, value={"code": code}, media_type=PROBLEM_TYPE) for code in of_status],
        )
        for status, of_status in sorted(found.items())
    }


def generic_codes(*, credential: bool, body: bool) -> list[str]:
    """What a call can answer for being a call of this API: with a credential, with a body."""
    return [
        *(WITH_CREDENTIAL if credential else ()),
        *(WITH_BODY if body else ()),
        *ALWAYS,
    ]


class AutoSchema(SpectacularSchema):
    """Adds to each operation what all share: a summary, the generic problems, the headers."""

    def get_summary(self) -> str:
        return _sentences(self.get_description())[0]

    def get_tags(self) -> list[str]:
        """By the first word of the path below the version; `SPECTACULAR_SETTINGS["TAGS"]` says which words a tag has."""
        word = self.path.removeprefix("/api/v1/").split("/")[0]
        return [tag["name"] for tag in spectacular_settings.TAGS if word in tag["x-paths"]]

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        operation["description"] = operation.get("description", "").replace("\n", " ").strip()
        body = operation.get("requestBody")
        if body is not None and any(_requires(media["schema"]) for media in body["content"].values()):
            body["required"] = True
        operation.setdefault("parameters", []).append({"$ref": "#/components/parameters/X-Request-ID"})
        responses = operation["responses"]
        codes = [code for answer in responses.values() for code in declared_codes(answer)]
        codes += generic_codes(credential=bool(operation.get("security")), body=body is not None)
        for status, of_status in _of_status(codes).items():
            shared = {"$ref": f"#/components/responses/Problem{status}"}
            responses[str(status)] = shared if SHARED.get(status) == of_status else _problem_response(status, of_status)
        for status, answer in responses.items():
            if "$ref" not in answer:
                answer.setdefault("headers", {}).update(_headers(status))
                answer["description"] = answer["description"] or "Done."
        operation["responses"] = dict(sorted(responses.items()))
        return operation


def declared_codes(answer: dict[str, Any]) -> list[str]:
    """The codes of a response of the document."""
    examples = answer.get("content", {}).get(PROBLEM_TYPE, {}).get("examples", {})
    return [example["value"]["code"] for example in examples.values()]


def _of_status(codes: Iterable[str]) -> dict[int, tuple[str, ...]]:
    """The codes by status, each in its order."""
    ordered = sorted(dict.fromkeys(codes), key=lambda code: (PROBLEM_CODES[code].status, code))
    groups = itertools.groupby(ordered, key=lambda code: PROBLEM_CODES[code].status)
    return {status: tuple(group) for status, group in groups}


def _problem_response(status: int, codes: Sequence[str]) -> dict[str, Any]:
    return {
        "headers": _headers(str(status)),
        "description": " ".join(f"`{code}`: {PROBLEM_CODES[code].meaning}" for code in codes),
        "content": {
            PROBLEM_TYPE: {
                "schema": schema_of(Problem),
                "examples": {code: {"value": _example(status, code)} for code in codes},
            }
        },
    }


def _example(status: int, code: str) -> dict[str, Any]:
    return {
        "type": f"urn:ema-server:problem:{code}",
        "title": title_of(status),
        "status": status,
        "code": code,
        "detail": PROBLEM_CODES[code].meaning,
    }


def _headers(status: str) -> dict[str, Any]:
    names = ["X-Request-ID"]
    if status in {"429", "503"}:
        names.append("Retry-After")
    if status == "401":
        names.append("WWW-Authenticate")
    if status == "405":
        names.append("Allow")
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _requires(schema: dict[str, Any]) -> bool:
    """Whether a body of this shape has a member that it cannot do without."""
    if "$ref" in schema:
        schema = _parts.get(schema["$ref"].removeprefix(COMPONENTS), {"required": True})
    return bool(schema.get("required"))


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", " ".join(text.split()))


SHARED: Final = _of_status(generic_codes(credential=True, body=True))
"""The codes of the responses that most calls share; what differs is written out at its call."""

HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The call's id in the server's log: the one that was sent, if it was a UUID.",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    },
    "Retry-After": {
        "description": "Seconds to wait before the next attempt.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "What the call needs.",
        "required": True,
        "schema": {"type": "string", "examples": ['Bearer realm="phone"']},
    },
    "Allow": {
        "description": "The methods that the address has.",
        "required": True,
        "schema": {"type": "string", "examples": ["POST"]},
    },
    "ETag": {
        "description": "Send it back in `If-None-Match`; 304 says that nothing changed.",
        "required": True,
        "schema": {"type": "string", "pattern": '^(W/)?"[^"]*"$'},
    },
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "name": "X-Request-ID",
        "in": "header",
        "description": "A UUID in lower case, under which the server's log notes this call. Another text is replaced.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
    },
}


def named_parts(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """`POSTPROCESSING_HOOKS`: the structs that the document refers to, each once, and the shared headers."""
    components = result.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    if both := schemas.keys() & _parts.keys():
        raise ValueError(f"A serializer and a struct are both called {', '.join(sorted(both))}.")
    missing = {name for name in _references(result) if name not in schemas}
    while missing:
        schemas |= {name: _parts[name] for name in missing}
        missing = {name for name in _references([_parts[name] for name in missing]) if name not in schemas}
    components["schemas"] = dict(sorted(schemas.items()))
    components["responses"] = {f"Problem{status}": _problem_response(status, codes) for status, codes in SHARED.items()}
    components["headers"] = HEADERS
    components["parameters"] = PARAMETERS
    result["tags"] = [{name: tag[name] for name in ("name", "description")} for tag in result.get("tags", [])]
    return result


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(name := node.get("$ref"), str) and name.startswith(COMPONENTS):
            yield name.removeprefix(COMPONENTS)
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _references(value)
