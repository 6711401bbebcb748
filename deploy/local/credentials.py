"""The local installation's secret, its tokens and the file by which the command line finds them.

Owns these files of the data folder, each readable by its owner alone: `secret`, `token`, `cli.json`.
"""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path

from deploy.local.files import write_private
from deploy.local.settings import SettingError, Settings
from deploy.local.stack import Credentials
from shared.runtime.auth import mint

TEAM = "demo"
_MIN_SECRET = 32
_NAMES = ("this page", "this computer")


def prepare_credentials(settings: Settings) -> Credentials:
    """Make the secret on the first start, and tokens of it for the team "demo"; the same secret gives the same teams.

    Whoever sits at this machine runs the installation: both tokens are an operator's."""
    secret = settings.given("TRAINYARD_SECRET") or _kept_secret(settings.data / "secret")
    if len(secret) < _MIN_SECRET:
        raise SettingError(f"TRAINYARD_SECRET has {len(secret)} characters: it must have at least {_MIN_SECRET}")
    now = datetime.now(UTC)
    page, command_line = (mint(secret, team=TEAM, role="admin", name=name, now=now, lifetime=None) for name in _NAMES)
    write_private(settings.data / "token", command_line + "\n")
    write_private(settings.data / "cli.json", json.dumps({"url": settings.url, "token": command_line}) + "\n")
    return Credentials(secret=secret, page_token=page)


def _kept_secret(path: Path) -> str:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(48) + "\n")
    return path.read_text().strip()
