from django.apps import AppConfig


class SamplingConfig(AppConfig):
    name = "ema_server.sampling"

    def ready(self) -> None:
        from ema_server.ledger import outbox
        from ema_server.sampling import replanning, services
        from ema_server.studies.services import CALLING_OFF

        outbox.handles(CALLING_OFF, services.call_off_silence, in_transaction=True)
        outbox.handles(replanning.ROLL_OUT, replanning.roll_out_job)
