from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("responses", "0005_bounded_times")]

    operations = [ValidateConstraint("submission", "answered_at_can_be_read_back")]
