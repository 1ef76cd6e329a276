"""`manage.py retention [--date 2030-01-31]`: studies whose data should be gone by now, and what to do about each."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django_scopes import scope

from ema_server.common import clock
from ema_server.studies.commands import read_day
from ema_server.studies.queries import people_counts, studies_kept_too_long


class Command(BaseCommand):
    help = "Lists the studies whose retention date has passed, and says what to do. Changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--date", help="as of this day (default: today, UTC)")

    def handle(self, *args: Any, **options: Any) -> None:
        today = read_day("--date", options["date"]) if options["date"] else clock.now().date()
        listed = 0
        for study in studies_kept_too_long(today):
            with scope(study=study):
                counts = people_counts(study)
            people = counts["all"] + counts["tests"]
            if not people:
                continue
            listed += 1
            days = (today - study.keep_until).days if study.keep_until else 0
            self.stdout.write(
                f"{study.slug}: kept until {study.keep_until}, {days} day{'' if days == 1 else 's'} ago; "
                f"{people} {'person has' if people == 1 else 'people have'} data here.\n"
                f"  Archive what must stay: manage.py export_dataset {study.slug} --out FILE\n"
                f"  Then erase each of them: manage.py erase_participant {study.slug} PSEUDONYM\n"
                f"  Or set a later date on the study's page, if people were told so."
            )
        if not listed:
            self.stdout.write(f"No study holds people's data past its retention date on {today}.")
