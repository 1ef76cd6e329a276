"""What the key store holds: wrapped data keys, who was erased, and what it takes to tell a wrong master key or store."""

from __future__ import annotations

import uuid

from django.db import models


class Store(models.Model):
    """The one row that names this store, so that another store put in its place is noticed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    only = models.BooleanField(default=True, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return str(self.id)


class MasterKey(models.Model):
    """A master key that wrapped something here. Not the key: a known text sealed by it, which a wrong key cannot open."""

    number = models.PositiveIntegerField(primary_key=True)
    proof = models.BinaryField()
    first_used_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"master key {self.number}"


class DataKey(models.Model):
    """One owner's key (a participant's, a study's, the server's), wrapped by a master key. Destroyed, it is gone."""

    owner = models.UUIDField(primary_key=True)
    master = models.PositiveIntegerField(help_text="Number of the master key that wraps it.")
    wrapped = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["master"], name="keys_by_master")]

    def __str__(self) -> str:
        return f"key of {self.owner}"


class Erasure(models.Model):
    """The register of erasures: whose key was destroyed. Replayed whenever a backup is restored."""

    owner = models.UUIDField(primary_key=True)
    erased_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.owner} erased"


class Anchor(models.Model):
    """The end of an audit chain on some night, kept outside the database that holds the chain."""

    chain = models.CharField(max_length=40)
    length = models.PositiveBigIntegerField()
    head = models.CharField(max_length=64)
    anchored_at = models.DateTimeField()
    superseded_at = models.DateTimeField(null=True, help_text="When a backup was restored that is older than this end.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["chain", "length", "head"], name="one_anchor_per_end")]

    def __str__(self) -> str:
        return f"{self.chain} at {self.length}"
