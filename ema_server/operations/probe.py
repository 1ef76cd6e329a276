"""`python -m ema_server.operations.probe`: ends with 0 if the web server on this machine is ready; for health checks."""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException

PORT = int(os.environ.get("EMA_BIND", "127.0.0.1:8000").rpartition(":")[2])


def main() -> int:
    connection = HTTPConnection("127.0.0.1", PORT, timeout=4)
    try:
        connection.request("GET", "/readyz", headers={"Host": "localhost"})
        answer = connection.getresponse()
        print(answer.read().decode(errors="replace"))
        return 0 if answer.status == 200 else 1
    except (OSError, HTTPException) as error:
        print(type(error).__name__)
        return 1


if __name__ == "__main__":
    sys.exit(main())
