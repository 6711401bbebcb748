"""`python -m services.status`."""

from __future__ import annotations

import sys

from services.status.app import NAME, compose
from services.status.settings import StatusSettings
from shared.runtime.service import run

if __name__ == "__main__":
    sys.exit(run(NAME, StatusSettings, compose))
