"""What set-up asks of the machine: the right Python, Debian packages, a browser, commands that a person watches.

Runs before anything is installed, so: standard library alone. Owns how packages are installed without starting the services
that come with them; must not know what set-up makes in the checkout.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

BROWSERS = ("chromium", "google-chrome", "google-chrome-stable")
# What the pinned TensorFlow has wheels for.
_PYTHONS = ((3, 11), (3, 13))
_PROCESSORS = ("x86_64", "AMD64")
# Services that come with the packages must not start, neither now nor with the machine: the stack runs its own. The policy
# file is how Debian lets an administrator say so; one that is there already is respected.
_INSTALL = """
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\\nexit 101\\n' > "$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
if [ -d /run/systemd/system ]; then
    for package in "$@"; do
        case "$package" in
            rabbitmq-server) systemctl disable --quiet rabbitmq-server.service epmd.service epmd.socket || true ;;
            nginx-light) systemctl disable --quiet nginx.service || true ;;
        esac
    done
fi
"""


class SetupFailed(Exception):
    """A step can't be done here; the text says what a person can do about it."""


def check_machine(version: tuple[int, ...], platform: str, processor: str) -> None:
    """Raise SetupFailed on a Python, a system or a processor that can't run this."""
    if not _PYTHONS[0] <= version <= _PYTHONS[1]:
        found, oldest, newest = (".".join(map(str, number)) for number in (version, *_PYTHONS))
        raise SetupFailed(f"this is Python {found}, {oldest} to {newest} is needed: make setup PYTHON=python{newest}")
    if platform != "linux":
        raise SetupFailed("the local stack runs on Linux (Debian 12, Ubuntu 24.04); elsewhere use docker compose")
    if processor not in _PROCESSORS:
        raise SetupFailed(f"this is a {processor} processor, the pinned TensorFlow is built for {_PROCESSORS[0]} alone")


def missing_packages(environ: Mapping[str, str], *, for_tests: bool, with_venv: bool) -> list[str]:
    """Which Debian packages this machine lacks; what is there from another source counts."""
    path = f"{environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    missing = []
    if not list(Path("/").glob("usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server")):
        missing.append("rabbitmq-server")
    if shutil.which("nginx", path=path) is None:
        missing.append("nginx-light")
    if with_venv and importlib.util.find_spec("ensurepip") is None:
        missing.append(f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")
    if for_tests and find_browser(environ) is None and not is_ubuntu():
        missing.append("chromium")
    return missing


def needs_own_browser(environ: Mapping[str, str]) -> bool:
    """Whether the tests' browser has to be Playwright's: Ubuntu's chromium package is a snap, which needs a running snapd and
    can't see /tmp."""
    return find_browser(environ) is None and is_ubuntu()


def install_browser(python: Path) -> None:
    """Playwright's own Chromium, into the user's cache, with the libraries that it needs (as root or through sudo).

    It comes from Playwright's servers, the one download of all that is neither Debian's, PyPI's nor npm's; where those can't be
    reached, SetupFailed says what else will do.
    """
    try:
        run([str(python), "-m", "playwright", "install", "--with-deps", "chromium"], cwd=Path("/"), environ=os.environ)
    except SetupFailed as error:
        raise SetupFailed(
            "the tests need a browser, and Playwright's could not be installed: install Google Chrome, or "
            "make test CHROMIUM=/path/to/chromium"
        ) from error


def find_browser(environ: Mapping[str, str]) -> str | None:
    """The browser for the tests: $CHROMIUM, else the first of the usual names on the PATH."""
    if chosen := environ.get("CHROMIUM"):
        if shutil.which(chosen) is None:
            raise SetupFailed(f"CHROMIUM is {chosen!r}: there is no such program")
        return chosen
    found = (shutil.which(name, path=environ.get("PATH")) for name in BROWSERS)
    return next((path for path in found if path), None)


def install_debian(packages: Sequence[str]) -> None:
    """Install as root or through sudo; raises SetupFailed with the line to type where neither is possible."""
    by_hand = f"install these first: apt-get install --no-install-recommends {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        raise SetupFailed(f"this machine has no apt-get; {by_hand}")
    command = ["sh", "-c", _INSTALL, "sh", *packages]
    if os.geteuid() != 0:
        command = [*_sudo(by_hand), *command]
    run(command, cwd=Path("/"), environ=os.environ)


def _sudo(by_hand: str) -> list[str]:
    if shutil.which("sudo"):
        if subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0:
            return ["sudo", "-n"]
        if sys.stdin.isatty():
            return ["sudo"]
    raise SetupFailed(f"Debian packages are missing and neither root nor sudo is to be had; as root, {by_hand}")


def is_ubuntu(release: Path = Path("/etc/os-release")) -> bool:
    """Whether this is Ubuntu; a system that doesn't say what it is, isn't."""
    try:
        return "ID=ubuntu" in release.read_text().splitlines()
    except FileNotFoundError:
        return False


def run(command: Sequence[str], *, cwd: Path, environ: Mapping[str, str]) -> None:
    """Run a command that a person watches; raises SetupFailed when it fails."""
    shown = " ".join(word if "\n" not in word else "…" for word in command)
    try:
        code = subprocess.run(command, cwd=cwd, env=dict(environ), check=False).returncode
    except OSError as error:
        raise SetupFailed(f"this could not be run ({error}): {shown}") from error
    if code != 0:
        raise SetupFailed(f"this failed with code {code}, the lines above say why: {shown}")
