from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations

from ema_server.common.phone_time import bounded


class Migration(migrations.Migration):
    dependencies = [("participants", "0007_credentials_and_pauses")]

    operations = [
        AddConstraintNotValid("consent", bounded("given_at", name="given_at_can_be_read_back")),
    ]
