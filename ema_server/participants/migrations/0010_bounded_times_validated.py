from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("participants", "0009_bounded_times")]

    operations = [ValidateConstraint("consent", "given_at_can_be_read_back")]
