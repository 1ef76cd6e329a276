"""`GET schema`: the phone API's document, made once in each process; its examples; and the pages that are written from it."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from ema_server.common.openapi import ALWAYS, WITH_BODY, WITH_CREDENTIAL, any_object, declared_codes
from ema_server.common.problem_codes import PROBLEM_CODES, RECEIPT_CODES

EXAMPLES: Final = Path(__file__).with_name("api_examples.json")


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document. Made from the code, so that it changes with the server's version alone."""
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return made


@cache
def written(kind: str) -> tuple[bytes, str]:
    """The document as "json" or "yaml", and its ETag."""
    plain = json.loads(json.dumps(document(), ensure_ascii=False))
    if kind == "json":
        text = json.dumps(plain, ensure_ascii=False, indent=2) + "\n"
    else:
        text = yaml.safe_dump(plain, allow_unicode=True, sort_keys=False, width=120)
    content = text.encode()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


class SchemaView(APIView):
    """This document. As JSON, or as YAML with `?format=yaml` or by the `Accept` header."""

    authentication_classes = ()
    permission_classes = ()
    renderer_classes = (OpenApiJsonRenderer2, OpenApiJsonRenderer, OpenApiYamlRenderer2, OpenApiYamlRenderer)

    @extend_schema(
        operation_id="api_document",
        parameters=[
            OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="The ETag of what is held."),
            OpenApiParameter("ETag", str, OpenApiParameter.HEADER, response=[200, 304], required=True),
        ],
        responses={
            200: OpenApiResponse(any_object("ApiDocument", "An OpenAPI 3.1 document."), description="The document."),
            304: OpenApiResponse(description="It has not changed since that ETag."),
        },
        auth=[],
    )
    def get(self, request: Request) -> HttpResponse:
        renderer = request.accepted_renderer
        content, etag = written("yaml" if isinstance(renderer, OpenApiYamlRenderer) else "json")
        headers = {"ETag": etag, "Cache-Control": "public, max-age=300", "Vary": "Accept"}
        if request.headers.get("If-None-Match") == etag:
            return HttpResponse(status=304, headers=headers)
        return HttpResponse(content, content_type=renderer.media_type, headers=headers)


def with_examples(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """`POSTPROCESSING_HOOKS`: an example of each body, from api_examples.json: operation → "request" and "response"."""
    examples = json.loads(EXAMPLES.read_text())
    for path in result["paths"].values():
        for operation in path.values():
            mine = examples.get(operation["operationId"], {})
            _show(operation.get("requestBody"), mine.get("request"))
            for status in ("200", "201", "202"):
                _show(operation["responses"].get(status), mine.get("response"))
    return result


def _show(body: dict[str, Any] | None, example: Any) -> None:
    if body is not None and example is not None and "application/json" in body.get("content", {}):
        body["content"]["application/json"]["example"] = example


def problem_page() -> str:
    """docs/problem-codes.md."""
    calls: dict[str, list[str]] = {}
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            for code in {code for answer in operation["responses"].values() for code in declared_codes(answer)}:
                calls.setdefault(code, []).append(f"`{method.upper()} {path.removeprefix('/api/v1/')}`")
    problems = [
        f"| `{code}` | {each.status} | {each.meaning} | {_calls(code, calls.get(code, []))} |"
        for code, each in sorted(PROBLEM_CODES.items(), key=lambda pair: (pair[1].status, pair[0]))
    ]
    receipts = [f"| `{code}` | {meaning} |" for code, meaning in sorted(RECEIPT_CODES.items())]
    return "\n".join(
        [
            "# The codes of the phone API",
            "",
            "Written by `manage.py api_document` from `ema_server/common/problem_codes.py`. Every error below `/api/` is an RFC 9457",
            "problem document whose `code` is one of these. Codes keep their meaning and their status; new ones may be added, so",
            "treat one that is new to you by its status.",
            "",
            "| code | status | meaning | calls |",
            "| --- | --- | --- | --- |",
            *problems,
            "",
            "## Receipts",
            "",
            "A batch is answered with 200 and one receipt for each item. `rejected` and `conflict` say why:",
            "",
            "| code | meaning |",
            "| --- | --- |",
            *receipts,
            "",
        ]
    )


def _calls(code: str, calls: list[str]) -> str:
    if code in ALWAYS:
        return "all"
    if code in WITH_CREDENTIAL:
        return "all with a credential"
    return "all with a body" if code in WITH_BODY else ", ".join(calls)
