"""Prints a bearer token for a team: `docker compose run --rm scheduler python /usr/local/lib/trainyard/mint_token.py …`.

In the image only; the local stack makes its own tokens.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime, timedelta

from shared.runtime.auth import mint


def main(arguments: list[str]) -> int:
    """Mint a token with the installation's secret (TRAINYARD_SECRET) and print it."""
    parser = argparse.ArgumentParser(description="Mint a bearer token for a team")
    parser.add_argument("team", help="the team that the token speaks for")
    parser.add_argument("--role", choices=("viewer", "member", "mentor", "admin"), default="member")
    parser.add_argument("--name", default="anonymous", help="the person, as others will see them")
    parser.add_argument("--days", type=int, default=90, help="how long it is good")
    options = parser.parse_args(arguments)
    print(
        mint(
            os.environ["TRAINYARD_SECRET"],
            team=options.team,
            role=options.role,
            name=options.name,
            now=datetime.now(UTC),
            lifetime=timedelta(days=options.days),
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
