"""The container's health: a GET on the service's own /readyz. Standard library alone, as every image has it."""

from __future__ import annotations

import http.client
import os
import sys


def main() -> int:
    """0 when the service says that it is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["PORT"]), timeout=3)
    try:
        connection.request("GET", "/readyz")
        return 0 if connection.getresponse().status == http.client.OK else 1
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
