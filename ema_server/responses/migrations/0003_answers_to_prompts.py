import django.db.models.deletion
from django.db import migrations, models

from ema_server.common.index_building import BuildIndex, drop_index


class Migration(migrations.Migration):
    """Compliance reads of answers which prompt they are to and when they came: from an index, never the answers themselves."""

    atomic = False

    dependencies = [
        ("responses", "0002_sealed_content"),
    ]

    operations = [
        BuildIndex(
            "submission",
            models.Index(
                fields=["study", "prompt"],
                include=["complete", "answered_at", "received_at"],
                condition=models.Q(prompt__isnull=False),
                name="answers_to_prompts",
            ),
        ),
        drop_index(
            "responses_submission_study_id_0b1002c5",
            "responses_submission (study_id)",
            migrations.AlterField(
                "submission",
                "study",
                models.ForeignKey(
                    "studies.study", django.db.models.deletion.CASCADE, related_name="submissions", db_index=False
                ),
            ),
        ),
    ]
