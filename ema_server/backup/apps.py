from django.apps import AppConfig


class BackupConfig(AppConfig):
    name = "ema_server.backup"
