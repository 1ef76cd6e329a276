"""Nobody reads across studies: without a scope a query fails, inside one it sees that study alone."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.db import models
from django_scopes import scope
from django_scopes.exceptions import ScopeError

from ema_server.studies.models import Study
from tests.world import FakePhone, live_study

pytestmark = [pytest.mark.django_db, pytest.mark.scoped]

# Models that a path of foreign keys leads from to a study, and that are not scoped, with the reason.
UNSCOPED = {"studies.Study": "the tenant itself: pages find it by the membership of who asks"}


def owned_by_a_study() -> dict[str, type[models.Model]]:
    """Every model of ours from which foreign keys lead to a study."""
    ours = [model for model in apps.get_models() if model.__module__.startswith("ema_server.")]
    found: dict[str, type[models.Model]] = {}
    grown = True
    while grown:
        grown = False
        for model in ours:
            targets = [f.related_model for f in model._meta.get_fields() if f.is_relation and f.concrete]
            if model._meta.label not in found and any(
                target is Study or (isinstance(target, type) and target._meta.label in found) for target in targets
            ):
                found[model._meta.label] = model
                grown = True
    return {label: model for label, model in found.items() if label not in UNSCOPED}


OWNED = owned_by_a_study()
ASK: dict[str, Any] = {
    "all": lambda m: m.objects.all(),
    "list": lambda m: list(m.objects.filter()),
    "get": lambda m: m.objects.get(pk=1),
    "count": lambda m: m.objects.count(),
    "first": lambda m: m.objects.first(),
    "values": lambda m: m.objects.values("pk"),
    "exclude": lambda m: list(m.objects.exclude(pk=1)),
    "update": lambda m: m.objects.update(pk=1),
    "delete": lambda m: m.objects.filter().delete(),
    "aggregate": lambda m: m.objects.aggregate(models.Count("pk")),
    "get_or_create": lambda m: m.objects.get_or_create(pk=1),
    "in_bulk": lambda m: m.objects.in_bulk([1]),
}


def test_every_room_with_people_or_answers_is_among_them() -> None:
    rooms = {label.split(".")[0] for label in OWNED}
    assert rooms >= {"studies", "participants", "sampling", "responses", "reports", "ledger", "erasure"}
    assert len(OWNED) >= 17


@pytest.mark.parametrize("label", sorted(OWNED))
@pytest.mark.parametrize("way", sorted(ASK))
def test_without_a_scope_a_query_fails(label: str, way: str) -> None:
    with pytest.raises(ScopeError):
        ASK[way](OWNED[label])


def test_inside_a_scope_another_studys_rows_do_not_exist() -> None:
    mine, theirs = live_study(), live_study()
    phones = {}
    for study in (mine, theirs):
        with scope(study=study):
            phones[study.pk] = FakePhone(study).enrolled()
            phones[study.pk].submit(phones[study.pk].item(), phones[study.pk].item(1, survey_version=9))
            phones[study.pk].report(2, "delivered")
    for label, model in OWNED.items():
        manager: Any = model._default_manager
        with scope(study=mine):
            here = set(manager.values_list("pk", flat=True))
        with scope(study=theirs):
            there = set(manager.values_list("pk", flat=True))
        assert not here & there, label
    with scope(study=mine):
        for name in ("Participant", "Prompt", "Submission", "Quarantined", "Consent", "Device", "PromptEvent"):
            model = next(model for label, model in OWNED.items() if label.endswith(f".{name}"))
            assert model._default_manager.count() > 0, f"{name}: an empty table proves nothing"


def test_a_call_of_a_phone_leaves_no_scope_behind() -> None:
    study = live_study()
    with scope(study=study):
        FakePhone(study).enrolled()
    with pytest.raises(ScopeError):
        next(iter(OWNED.values())).objects.count()  # type: ignore[attr-defined]
