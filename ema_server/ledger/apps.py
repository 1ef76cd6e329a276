from django.apps import AppConfig


class LedgerConfig(AppConfig):
    name = "ema_server.ledger"
