from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("sampling", "0007_decisions_stand")]

    operations = [
        migrations.RunSQL(
            """
            CREATE TRIGGER never_emptied BEFORE TRUNCATE ON sampling_promptevent
                FOR EACH STATEMENT EXECUTE FUNCTION prompt_events_only_grow();
            CREATE TRIGGER never_emptied BEFORE TRUNCATE ON sampling_decision
                FOR EACH STATEMENT EXECUTE FUNCTION decisions_are_never_edited();
            """,
            "DROP TRIGGER never_emptied ON sampling_promptevent; DROP TRIGGER never_emptied ON sampling_decision;",
        ),
    ]
