from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations

from ema_server.common.phone_time import bounded


class Migration(migrations.Migration):
    dependencies = [("sampling", "0008_never_emptied")]

    operations = [
        AddConstraintNotValid("promptevent", bounded("phone_at", name="phone_at_can_be_read_back")),
    ]
