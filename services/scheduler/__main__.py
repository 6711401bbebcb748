"""`python -m services.scheduler`."""

import sys

from services.scheduler.app import NAME, compose
from services.scheduler.settings import SchedulerSettings
from shared.runtime.service import run

if __name__ == "__main__":
    sys.exit(run(NAME, SchedulerSettings, compose))
