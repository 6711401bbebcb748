"""`python -m services.dataset`."""

from __future__ import annotations

import sys

from services.dataset.app import NAME, compose
from services.dataset.settings import DatasetSettings
from shared.runtime.service import run

if __name__ == "__main__":
    sys.exit(run(NAME, DatasetSettings, compose))
