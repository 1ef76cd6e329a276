import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("participants", "0006_participant_schedule"),
        ("sampling", "0003_wave"),
        ("studies", "0006_rule_versions"),
    ]

    operations = [
        migrations.CreateModel(
            name="Decision",
            fields=[
                (
                    "prompt",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="decision",
                        serialize=False,
                        to="sampling.prompt",
                    ),
                ),
                ("options", models.JSONField(help_text='The probabilities: {"message": 0.6, "none": 0.4}')),
                (
                    "draw",
                    models.FloatField(
                        help_text="Uniform from 0 to 1: it falls on the option within whose share it lies."
                    ),
                ),
                ("option", models.CharField(max_length=40)),
                ("made_at", models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name="prompt",
            name="grace_minutes",
            field=models.PositiveSmallIntegerField(
                db_default=0, default=0, help_text="How long whoever has started may go on after it expired."
            ),
        ),
        migrations.AddField(
            model_name="promptevent",
            name="code",
            field=models.CharField(
                blank=True,
                choices=[
                    ("withdrew", "Withdrew"),
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
        migrations.AddField(
            model_name="promptevent",
            name="now_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="promptevent",
            name="was_at",
            field=models.DateTimeField(blank=True, help_text="Of a prompt that moved.", null=True),
        ),
        migrations.AlterField(
            model_name="promptevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("queued", "Queued"),
                    ("sent", "Sent"),
                    ("undelivered", "Undelivered"),
                    ("delivered", "Delivered"),
                    ("shown", "Shown"),
                    ("reminded", "Reminded"),
                    ("opened", "Opened"),
                    ("dismissed", "Dismissed"),
                    ("started", "Started"),
                    ("completed", "Completed"),
                    ("uploaded", "Uploaded"),
                    ("expired", "Expired"),
                    ("cancelled", "Cancelled"),
                    ("restored", "Restored"),
                    ("reissued", "Reissued"),
                    ("rescheduled", "Rescheduled"),
                    ("available", "Available"),
                    ("unavailable", "Unavailable"),
                ],
                max_length=12,
            ),
        ),
        migrations.CreateModel(
            name="Planning",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "cause",
                    models.CharField(
                        choices=[
                            ("enrolment", "Enrolment"),
                            ("withdrawal", "Withdrawal"),
                            ("plan", "a new version of the plan"),
                            ("schedule", "a change of this person's schedule"),
                            ("zone", "a new time zone"),
                            ("follow_up", "an answer"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "facts",
                    models.JSONField(help_text="Days, zone, arm and schedule of the person: sampling/planning.py"),
                ),
                ("counts", models.JSONField(default=dict, help_text="What it did to the prompts ahead.")),
                ("made_at", models.DateTimeField()),
                (
                    "participant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="plannings",
                        to="participants.participant",
                    ),
                ),
                ("plan", models.ForeignKey(on_delete=django.db.models.deletion.RESTRICT, to="studies.samplingplan")),
                (
                    "study",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="plannings", to="studies.study"
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="prompt",
            name="planning",
            field=models.ForeignKey(
                blank=True,
                help_text="None: imported.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="prompts",
                to="sampling.planning",
            ),
        ),
        migrations.CreateModel(
            name="ScheduleChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                (
                    "effect",
                    models.CharField(
                        choices=[("next_day", "from each person's next day"), ("at_once", "at once")],
                        default="next_day",
                        max_length=10,
                    ),
                ),
                (
                    "before",
                    models.JSONField(
                        default=dict, help_text="The person's days and schedule, or the number of the plan."
                    ),
                ),
                ("after", models.JSONField(default=dict)),
                ("reason", models.CharField(blank=True, default="", max_length=500)),
                ("actor", models.CharField(max_length=60)),
                ("made_at", models.DateTimeField()),
                ("people", models.PositiveIntegerField(default=0, help_text="Whom it concerns.")),
                ("counts", models.JSONField(help_text="What it did; empty until it has reached everybody.", null=True)),
                (
                    "participant",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty where it is for everybody.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="participants.participant",
                    ),
                ),
                (
                    "plan",
                    models.ForeignKey(
                        help_text="In force after it.",
                        on_delete=django.db.models.deletion.RESTRICT,
                        related_name="+",
                        to="studies.samplingplan",
                    ),
                ),
                (
                    "study",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="schedule_changes", to="studies.study"
                    ),
                ),
                (
                    "undoes",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="undone_by",
                        to="sampling.schedulechange",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="planning",
            name="change",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="plannings",
                to="sampling.schedulechange",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedulechange",
            constraint=models.UniqueConstraint(fields=("study", "number"), name="one_schedule_change_per_number"),
        ),
        migrations.AddConstraint(
            model_name="planning",
            constraint=models.UniqueConstraint(
                condition=models.Q(("change__isnull", False)),
                fields=("change", "participant"),
                name="one_planning_per_change_and_person",
            ),
        ),
    ]
