from django.apps import AppConfig


class VaultConfig(AppConfig):
    name = "ema_server.vault"
