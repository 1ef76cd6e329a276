from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "ema_server.accounts"
