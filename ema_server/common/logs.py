"""Log lines without personal data: what code wrote, numbers, names from an allow list; never a value that was sent.

A line's text is the template in the code, with strings blanked out where they are not this service's own. Of an exception
the type, the database's SQLSTATE and the places in the code are kept: its text may hold an answer (`DETAIL: Key (…)=(…)`).
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from ema_server.common.outage import sqlstate_of

ROOT = Path(__file__).resolve().parents[2]
FIELDS = (
    "route",
    "method",
    "status",
    "ms",
    "user",
    "device",
    "task",
    "task_id",
    "kind",
    "job",
    "study",
    "attempts",
    "count",
    "release",
)
FRAMES = 12  # of a trace, the innermost
request_id: ContextVar[str] = ContextVar("request_id", default="")

_TEMPLATES_ARE_CODE = ("django.request", "gunicorn.error", "celery", "kombu")  # they log templates, never made-up text
_OURS = re.compile(r"ema_server(\..+)?")
_NAME = re.compile(r"[A-Za-z0-9_.:/+-]{1,80}")
_PLACEHOLDER = re.compile(r"%(?:\((\w+)\))?[-#0 +]*\d*(?:\.\d+)?[a-zA-Z]|%%")


def safe_fields(record: logging.LogRecord) -> dict[str, Any]:
    """All that may be said of a record."""
    fields: dict[str, Any] = {"level": record.levelname, "logger": record.name, "message": _message(record)}
    if request_id.get():
        fields["request"] = request_id.get()
    for name in FIELDS:
        value = record.__dict__.get(name)
        if isinstance(value, int | float) or (isinstance(value, str) and _NAME.fullmatch(value)):
            fields[name] = value
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        fields["exception"] = f"{type(error).__module__}.{type(error).__qualname__}"
        if state := sqlstate_of(error):
            fields["sqlstate"] = state
        fields["at"] = _places(error)
    return fields


class SafeJson(logging.Formatter):
    """One JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"time": _time(self, record), **safe_fields(record)}, ensure_ascii=False)


class SafeLine(logging.Formatter):
    """The same for a person who reads a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        fields = safe_fields(record)
        head = f"{_time(self, record)} {fields.pop('level')} {fields.pop('logger')}: {fields.pop('message')}"
        return " ".join([head, *(f"{name}={value}" for name, value in fields.items())])


class FullLine(logging.Formatter):
    """Everything, traces and values included: for a developer's own machine with EMA_DEBUG=1."""


def logging_settings(style: str, *, debug: bool) -> dict[str, Any]:
    """Django's LOGGING; gunicorn takes the same."""
    formatters = {
        "json": {"()": "ema_server.common.logs.SafeJson"},
        "plain": {"()": "ema_server.common.logs.SafeLine"},
        "full": {
            "()": "ema_server.common.logs.FullLine",
            "format": "{asctime} {levelname} {name}: {message}",
            "style": "{",
        },
    }
    quiet = {"handlers": ["console"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": formatters,
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "full" if debug else style}},
        "root": {"handlers": ["console"], "level": "WARNING"},
        "loggers": {
            "ema_server": {**quiet, "level": "INFO"},
            "django": {**quiet, "level": "WARNING"},
            "django.request": {**quiet, "level": "ERROR"},  # the access line has said the rest
            "gunicorn.error": {**quiet, "level": "INFO"},
            "celery": {**quiet, "level": "WARNING"},
            "celery.app.trace": {
                **quiet,
                "level": "CRITICAL",
            },  # our own task lines say it without arguments and results
        },
    }


def _message(record: logging.LogRecord) -> str:
    template = str(record.msg) if isinstance(record.msg, str) else type(record.msg).__name__
    ours = bool(_OURS.fullmatch(record.name))
    if not ours and not record.name.startswith(_TEMPLATES_ARE_CODE):
        return f"(text withheld; {record.module}:{record.lineno})"
    if not record.args:
        return template
    values = iter(()) if isinstance(record.args, Mapping) else iter(record.args)

    def fill(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        value = record.args.get(found[1]) if isinstance(record.args, Mapping) else next(values, None)
        if isinstance(value, bool | int | float):
            return str(value)
        return value if ours and isinstance(value, str) and _NAME.fullmatch(value) else "…"

    return _PLACEHOLDER.sub(fill, template)


def _places(error: BaseException) -> list[str]:
    """File, line and function of the innermost frames: code, no values."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    return [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]


def _short(filename: str) -> str:
    path = Path(filename)
    if path.is_relative_to(ROOT) and "site-packages" not in path.parts:
        return path.relative_to(ROOT).as_posix()
    return "/".join(path.parts[-3:])


def _time(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return f"{formatter.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}"
