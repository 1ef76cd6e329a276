"""Write docs/openapi.json and docs/problem-codes.md from the code; --check only says whether they are as they should be."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ema_server.api_document import problem_page, written


class Command(BaseCommand):
    help = __doc__ or ""
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is out of date")

    def handle(self, *args: Any, **options: Any) -> None:
        docs = settings.BASE_DIR / "docs"
        for name, content in (("openapi.json", written("json")[0]), ("problem-codes.md", problem_page().encode())):
            path = docs / name
            if path.exists() and path.read_bytes() == content:
                continue
            if options["check"]:
                raise CommandError(f"docs/{name} is out of date; `python manage.py api_document` writes it.")
            path.write_bytes(content)
            self.stdout.write(f"docs/{name} written.")
