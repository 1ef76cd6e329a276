from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations

from ema_server.common.phone_time import bounded

NEVER_EDITED = """
CREATE OR REPLACE FUNCTION submissions_are_never_edited() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.prompt_id IS NULL AND NEW.prompt_id = (OLD.payload->>'prompt')::uuid
        AND to_jsonb(NEW) - 'prompt_id' = to_jsonb(OLD) - 'prompt_id'
    THEN RETURN NEW; END IF;
    RAISE EXCEPTION 'A submission is never edited; it is kept as it came, or erased with its person.';
END $$
"""

BEFORE = """
CREATE OR REPLACE FUNCTION submissions_are_never_edited() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'A submission is never edited; it is kept as it came, or erased with its person.';
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("responses", "0004_quarantined_client_id")]

    operations = [
        AddConstraintNotValid("submission", bounded("answered_at", name="answered_at_can_be_read_back")),
        migrations.RunSQL(
            NEVER_EDITED, BEFORE
        ),  # an orphan finds its prompt, once that is planned; nothing else changes
    ]
