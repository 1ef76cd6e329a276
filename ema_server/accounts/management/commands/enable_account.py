from ema_server.accounts.management.commands._account import AccountCommand
from ema_server.accounts.models import User
from ema_server.accounts.services import enable_account


class Command(AccountCommand):
    help = "Open a researcher's account again."

    def done(self, user: User, reason: str) -> str:
        enable_account(user=user, actor="server", reason=reason)
        return f"{user.email} is open again and can log in."
