from django.apps import AppConfig


class ErasureConfig(AppConfig):
    name = "ema_server.erasure"

    def ready(self) -> None:
        from ema_server.common.restoring import after_restore
        from ema_server.erasure import services
        from ema_server.ledger import outbox

        # A key store that is away for days delays an erasure; it does not end it.
        outbox.handles("erasure", "ema_server.erasure.services.carry_out", max_attempts=200)
        after_restore(services.replay_register)
