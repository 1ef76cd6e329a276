from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("participants", "0005_study_structure"),
    ]

    operations = [
        migrations.AddField(
            model_name="participant",
            name="schedule",
            field=models.JSONField(
                db_default=models.Value({}, models.JSONField()),
                default=dict,
                help_text='Their own hours, events and bursts: {"waking": {"every": ["07:00", "23:00"]}, "events": {…}, "waves": {…}}',
            ),
        ),
    ]
