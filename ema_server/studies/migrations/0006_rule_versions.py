from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("studies", "0005_survey_drafts"),
    ]

    operations = [
        migrations.AddField(
            model_name="samplingplan",
            name="versions",
            field=models.JSONField(
                db_default=models.Value({}, models.JSONField()),
                default=dict,
                help_text="By rule: the number of the plan in which its moments were first asked for in this way.",
            ),
        ),
    ]
