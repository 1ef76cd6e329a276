import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("reports", "0002_plan_lock"),
        ("studies", "0006_rule_versions"),
    ]

    operations = [
        migrations.CreateModel(
            name="PlanForecast",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("people", models.PositiveIntegerField()),
                ("asked_at", models.DateTimeField()),
                ("words", models.JSONField(help_text="Sentences; empty until it is made.", null=True)),
                (
                    "sampling_plan",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="studies.samplingplan"
                    ),
                ),
                (
                    "study",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="plan_forecasts", to="studies.study"
                    ),
                ),
            ],
        ),
    ]
