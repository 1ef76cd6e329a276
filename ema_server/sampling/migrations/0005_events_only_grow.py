from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("sampling", "0004_schedules"),
    ]

    operations = [
        migrations.RunSQL(
            """
            CREATE FUNCTION prompt_events_only_grow() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF TG_OP = 'DELETE' AND current_setting('ema.forgetting', true) = 'on' THEN
                    RETURN OLD;
                END IF;
                RAISE EXCEPTION 'The prompt ledger only grows: % of an event is refused; events go with their person alone.',
                    TG_OP;
            END $$;
            CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE ON sampling_promptevent
                FOR EACH ROW EXECUTE FUNCTION prompt_events_only_grow();
            """,
            "DROP TRIGGER only_grows ON sampling_promptevent; DROP FUNCTION prompt_events_only_grow;",
        ),
    ]
