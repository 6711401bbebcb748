"""`python -m services.trainer`: one trainer, until it is told to stop."""

from __future__ import annotations

import sys

from services.trainer.app import compose
from services.trainer.settings import TrainerSettings
from shared.runtime.service import run

if __name__ == "__main__":
    sys.exit(run("trainer", TrainerSettings, compose))
