from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations

from ema_server.common.phone_time import bounded


class Migration(migrations.Migration):
    dependencies = [("participants", "0008_enrolment_and_device_reports")]

    operations = [
        AddConstraintNotValid("consent", bounded("given_at", name="given_at_can_be_read_back")),
    ]
