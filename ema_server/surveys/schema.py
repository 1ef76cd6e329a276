"""The JSON schema of a questionnaire, for editors and other programs. What it cannot say (a name used before it is
there, a condition that is never true) `faults.faults` says."""

from __future__ import annotations

from typing import Any

from ema_server.surveys.columns import RESERVED
from ema_server.surveys.document import CARDS, SCHEMA
from ema_server.surveys.faults import LONGEST, MOST_ALERTS, MOST_ITEMS, SOURCE_KEYS
from ema_server.surveys.kinds import LARGEST, LONGEST_TEXT, LONGEST_VALUE, MOST_OPTIONS

_NAME = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,39}$", "not": {"enum": sorted(RESERVED)}}
_KEY = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,39}$"}
_TEXT = {
    "description": "A text, or one for each of the questionnaire's languages.",
    "oneOf": [
        {"type": "string", "minLength": 1, "maxLength": LONGEST},
        {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "string", "minLength": 1, "maxLength": LONGEST},
        },
    ],
}
_CONDITION = {"type": "string", "minLength": 1, "maxLength": 1000, "description": "An expression, like stress > 60."}
_SOURCE = {
    "type": "object",
    "properties": {key: {"type": "string", "maxLength": LONGEST} for key in sorted(SOURCE_KEYS)},
    "additionalProperties": False,
}
_LABELS = {"type": "object", "additionalProperties": {"$ref": "#/$defs/text"}}
_NUMBER = {"type": "number", "minimum": -LARGEST, "maximum": LARGEST}
_VALUE = {"oneOf": [{"type": "string", "minLength": 1, "maxLength": LONGEST_VALUE}, {"type": "integer"}]}
_OPTIONS = {
    "type": "array",
    "minItems": 1,
    "maxItems": MOST_OPTIONS,
    "items": {
        "oneOf": [
            *_VALUE["oneOf"],
            {
                "type": "object",
                "required": ["value"],
                "properties": {"value": _VALUE, "label": {"$ref": "#/$defs/text"}, "exclusive": {"type": "boolean"}},
                "additionalProperties": False,
            },
        ]
    },
}


def _pair(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": 2, "maxItems": 2}


_COMMON = {
    "name": _NAME,
    "text": {"$ref": "#/$defs/text"},
    "hint": {"$ref": "#/$defs/text"},
    "required": {"type": "boolean", "default": True},
    "show_if": {"$ref": "#/$defs/condition"},
    "page": _KEY,
    "sensitive": {"type": "boolean", "default": False},
    "ambient": {"type": "boolean", "default": False},
    "source": {"$ref": "#/$defs/source"},
}
_STEP = {"type": "number", "exclusiveMinimum": 0}
_COUNT = {"type": "integer", "minimum": 1}
_OWN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "likert": ({"range": _pair({"type": "integer"}), "labels": _LABELS}, ["range"]),
    "slider": ({"range": _pair(_NUMBER), "step": _STEP, "labels": _LABELS}, ["range"]),
    "number": ({"range": _pair(_NUMBER), "step": _STEP, "unit": {"type": "string", "maxLength": 40}}, []),
    "yesno": (
        {
            "labels": {
                "type": "object",
                "properties": {"true": {"$ref": "#/$defs/text"}, "false": {"$ref": "#/$defs/text"}},
                "additionalProperties": False,
            }
        },
        [],
    ),
    "choice": ({"options": _OPTIONS}, ["options"]),
    "choices": ({"options": _OPTIONS, "at_least": _COUNT, "at_most": _COUNT}, ["options"]),
    "text": ({"max_length": {"type": "integer", "minimum": 1, "maximum": LONGEST_TEXT}}, []),
    "date": ({"range": _pair({"type": "string", "format": "date"})}, []),
    "time": ({"range": _pair({"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"})}, []),
    "duration": ({"range": _pair({"type": "number", "minimum": 0})}, []),
    "information": ({}, []),
    "media": ({"kind": {"enum": ["photo", "audio", "video"]}}, ["kind"]),
}


def _item(kind: str) -> dict[str, Any]:
    own, needed = _OWN[kind]
    return {
        "type": "object",
        "required": ["name", "type", "text", *needed],
        "properties": {**_COMMON, "type": {"const": kind}, **own},
        "additionalProperties": False,
    }


JSON_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Questionnaire",
    "type": "object",
    "required": ["title", "items"],
    "properties": {
        "schema": {"const": SCHEMA},
        "title": {"$ref": "#/$defs/text"},
        "languages": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "string", "pattern": "^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$"},
        },
        "items": {
            "type": "array",
            "minItems": 1,
            "maxItems": MOST_ITEMS,
            "items": {"oneOf": [_item(kind) for kind in _OWN]},
        },
        "pages": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["key"],
                "properties": {
                    "key": _KEY,
                    "title": {"$ref": "#/$defs/text"},
                    "show_if": {"$ref": "#/$defs/condition"},
                    "order": {"enum": ["fixed", "random"]},
                },
                "additionalProperties": False,
            },
        },
        "scales": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["key", "items"],
                "properties": {
                    "key": _NAME,
                    "title": {"$ref": "#/$defs/text"},
                    "items": {"type": "array", "minItems": 1, "uniqueItems": True, "items": _NAME},
                    "reversed": {"type": "array", "items": _NAME},
                    "score": {"enum": ["mean", "sum"]},
                    "minimum_answered": {"type": "integer", "minimum": 1},
                    "source": {"$ref": "#/$defs/source"},
                },
                "additionalProperties": False,
            },
        },
        "alerts": {
            "type": "array",
            "maxItems": MOST_ALERTS,
            "items": {
                "type": "object",
                "required": ["key", "when"],
                "properties": {"key": _KEY, "when": {"$ref": "#/$defs/condition"}, "card": {"enum": list(CARDS)}},
                "additionalProperties": False,
            },
        },
        "source": {"$ref": "#/$defs/source"},
    },
    "additionalProperties": False,
    "$defs": {"text": _TEXT, "condition": _CONDITION, "source": _SOURCE},
}
