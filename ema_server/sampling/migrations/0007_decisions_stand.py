from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("sampling", "0006_indexes_for_reading")]

    operations = [
        migrations.AlterField(
            model_name="promptevent",
            name="code",
            field=models.CharField(
                blank=True,
                choices=[
                    ("withdrew", "Withdrew"),
                    ("paused", "Paused"),
                    ("study_silent", "Study Silent"),
                    ("plan_changed", "Plan Changed"),
                    ("schedule_changed", "Schedule Changed"),
                    ("zone_changed", "Zone Changed"),
                    ("too_close", "Too Close"),
                    ("too_late", "Too Late"),
                    ("no_device", "No Device"),
                    ("token_dead", "Token Dead"),
                    ("refused", "Refused"),
                    ("recent_answer", "Recent Answer"),
                    ("no_permission", "No Permission"),
                    ("do_not_disturb", "Do Not Disturb"),
                    ("driving", "Driving"),
                    ("battery", "Battery"),
                    ("other", "Other"),
                ],
                db_default="",
                default="",
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="decision",
            name="draw",
            field=models.FloatField(
                help_text="Uniform from 0 to 1: it falls on the option within whose share it lies, in alphabetical order."
            ),
        ),
        migrations.RunSQL(
            """
            CREATE FUNCTION decisions_are_never_edited() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE EXCEPTION 'A decision is never edited; it stands as it was drawn, or is erased with its person.';
            END $$;
            CREATE TRIGGER never_edited BEFORE UPDATE ON sampling_decision
                FOR EACH ROW EXECUTE FUNCTION decisions_are_never_edited();
            """,
            "DROP TRIGGER never_edited ON sampling_decision; DROP FUNCTION decisions_are_never_edited;",
        ),
    ]
