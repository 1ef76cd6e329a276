from django.apps import AppConfig


class ErasureConfig(AppConfig):
    name = "ema_server.erasure"

    def ready(self) -> None:
        from ema_server.common.restoring import after_restore
        from ema_server.ledger import outbox

        after_restore("ema_server.erasure.services.replay_register")
        outbox.handles("erasure", "ema_server.erasure.services.carry_out")
