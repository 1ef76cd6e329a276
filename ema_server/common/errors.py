"""What a study's rules forbid, as exceptions that name the fault and say what would be accepted."""

from __future__ import annotations

from typing import Any


class DomainError(Exception):
    """A rule of the study forbids this (409). `code` is stable: phones and scripts switch on it."""

    code = "forbidden_by_rule"
    status = 409
    retry_after: int | None = None  # seconds, where waiting helps

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.more: dict[str, Any] = {}  # members of the problem document besides the usual ones
