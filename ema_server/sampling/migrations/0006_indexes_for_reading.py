import django.db.models.deletion
from django.contrib.postgres.operations import RemoveIndexConcurrently
from django.db import migrations, models

from ema_server.common.index_building import BuildIndex, drop_index


def parent(to: str, name: str) -> models.ForeignKey:
    return models.ForeignKey(to, django.db.models.deletion.CASCADE, related_name=name, db_index=False)


class Migration(migrations.Migration):
    """What is due is found by time, what happened to a prompt by the prompt. Six indexes go that nothing was read by: they
    are the beginnings of others, or of a column that nobody asks by."""

    atomic = False

    dependencies = [
        ("sampling", "0005_events_only_grow"),
    ]

    operations = [
        BuildIndex("prompt", models.Index(fields=["scheduled_at", "expires_at"], name="prompts_by_time")),
        BuildIndex(
            "promptevent",
            models.Index(fields=["prompt", "kind"], include=["received_at", "device"], name="events_of_prompts"),
        ),
        BuildIndex(
            "promptevent",
            models.Index(
                fields=["received_at"],
                include=["prompt"],
                condition=models.Q(kind="queued"),
                name="prompts_queued_lately",
            ),
        ),
        RemoveIndexConcurrently("promptevent", "sampling_pr_study_i_4c2b59_idx"),
        drop_index(
            "sampling_promptevent_study_id_2c68e05d",
            "sampling_promptevent (study_id)",
            migrations.AlterField("promptevent", "study", parent("studies.study", "prompt_events")),
        ),
        drop_index(
            "sampling_promptevent_prompt_id_072fc35a",
            "sampling_promptevent (prompt_id)",
            migrations.AlterField("promptevent", "prompt", parent("sampling.prompt", "events")),
        ),
        drop_index(
            "sampling_prompt_study_id_71c904a6",
            "sampling_prompt (study_id)",
            migrations.AlterField("prompt", "study", parent("studies.study", "prompts")),
        ),
        drop_index(
            "sampling_prompt_participant_id_5f4a2aa8",
            "sampling_prompt (participant_id)",
            migrations.AlterField("prompt", "participant", parent("participants.participant", "prompts")),
        ),
        drop_index(
            "sampling_prompt_questionnaire_573410a3_like",
            "sampling_prompt (questionnaire varchar_pattern_ops)",
            migrations.AlterField("prompt", "questionnaire", models.SlugField(db_index=False)),
        ),
        drop_index(
            "sampling_prompt_questionnaire_573410a3",
            "sampling_prompt (questionnaire)",
            migrations.AlterField("prompt", "questionnaire", models.SlugField(db_index=False)),
        ),
    ]
