"""Makes the gateway's settings for the local stack and becomes nginx: `python -m deploy.local.gateway`.

Owns how the shared nginx template is filled in on one machine; the routes and headers are the template's. nginx runs as
one process without a master, so that ending that process ends nginx whoever does it and however.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from deploy.local.files import write_private

TEMPLATE = Path(__file__).parent.parent / "nginx" / "trainyard.conf.template"
STOP_SECONDS = 5.0

_NAME = re.compile(r"\$\{(TRAINYARD_[A-Z_]+)\}")


def render(template: str, values: Mapping[str, str]) -> str:
    """Fill in every ${TRAINYARD_…}; a name without a value raises KeyError, nginx's own $names stay."""
    return _NAME.sub(lambda match: values[match[1]], template)


def local_values(*, run: Path, web_root: Path, port: int, token: str, services: Mapping[str, str]) -> dict[str, str]:
    """What the template needs on one machine: loopback, this machine's names only, the page's own token in a cookie.

    `services` maps dataset, scheduler and status to their base addresses.
    """
    return {
        "TRAINYARD_RUN": _in_quotes(run),
        "TRAINYARD_WEB_ROOT": _in_quotes(web_root),
        "TRAINYARD_LISTEN": f"127.0.0.1:{port}",
        "TRAINYARD_HOSTS": "localhost 127.0.0.1",
        "TRAINYARD_PAGE_COOKIE": f"trainyard_token={token}; Path=/; HttpOnly; SameSite=Strict",
        "TRAINYARD_ACCESS_LOG": "off",
        "TRAINYARD_RESOLVER": "",
        "TRAINYARD_DATASET": services["dataset"],
        "TRAINYARD_SCHEDULER": services["scheduler"],
        "TRAINYARD_STATUS": services["status"],
    }


def write_config(run: Path, values: Mapping[str, str]) -> Path:
    """Write the settings into `run`, readable by their owner alone: they hold the page's token."""
    run.mkdir(parents=True, exist_ok=True)
    path = run / "nginx.conf"
    write_private(path, render(TEMPLATE.read_text(), values))
    return path


def nginx_command(config: Path) -> tuple[str, ...]:
    """nginx in the foreground, one process, complaints to the terminal."""
    return ("nginx", "-e", "stderr", "-c", str(config), "-g", "daemon off; master_process off;")


def _in_quotes(path: Path) -> str:
    # The template puts folders in double quotes, in which nginx still expands $ and \\.
    text = str(path)
    if any(character in text for character in '"\\$'):
        raise ValueError(f"nginx cannot use a folder whose name has a quote, a backslash or a dollar sign: {text}")
    return text


def main(environ: Mapping[str, str]) -> None:
    """Become nginx; returns only by an exception."""
    run = Path(environ["GATEWAY_DATA"])
    services = {name: environ[f"{name.upper()}_URL"] for name in ("dataset", "scheduler", "status")}
    values = local_values(
        run=run,
        web_root=Path(environ["WEB_ROOT"]),
        port=int(environ["PORT"]),
        token=environ["GATEWAY_TOKEN"],
        services=services,
    )
    # Debian keeps nginx in /usr/sbin, which an ordinary user's PATH lacks.
    path = f"{environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    command = nginx_command(write_config(run, values))
    os.environ["PATH"] = path
    os.execvpe(command[0], command, {**environ, "PATH": path})


if __name__ == "__main__":
    main(os.environ)
