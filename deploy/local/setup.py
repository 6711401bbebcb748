"""Makes a checkout ready to run: `make setup`.

Runs before anything is installed, so: standard library alone. Owns the order of the steps, the virtual environment and the
built web client. Each step has a stamp, the hash of all that its result depends on, so that
a second run takes a fraction of a second.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.local.machine import (
    SetupFailed,
    check_machine,
    install_browser,
    install_debian,
    missing_packages,
    needs_own_browser,
    run,
)

CHECKOUT = Path(__file__).resolve().parents[2]


class Stamps:
    """What each step was last done for; kept in the virtual environment, so they go when it goes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fresh(self, step: str, digest: str) -> bool:
        """Whether the step was last done for exactly this."""
        try:
            return (self._folder / step).read_text() == digest
        except FileNotFoundError:
            return False

    def known(self, step: str) -> bool:
        """Whether the step was ever done here."""
        return (self._folder / step).exists()

    def done(self, step: str, digest: str) -> None:
        """Remember it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / step).write_text(digest)


class Setup:
    """The steps for one checkout."""

    def __init__(self, checkout: Path, environ: Mapping[str, str], *, for_tests: bool) -> None:
        self._checkout = checkout
        self._environ = environ
        self._for_tests = for_tests
        self._venv = checkout / ".venv"
        self._python = self._venv / "bin" / "python"
        self._stamps = Stamps(self._venv / ".stamps")

    def run(self) -> int:
        """Do what is to do; returns the number of steps that were done."""
        check_machine(sys.version_info[:2], sys.platform, platform.machine())
        steps = (
            self._debian,
            self._environment,
            self._installer,
            self._packages,
            self._project,
            self._web,
            self._browser,
        )
        return sum(step() for step in steps)

    def _debian(self) -> bool:
        packages = missing_packages(self._environ, for_tests=self._for_tests, with_venv=not self._python.exists())
        if not packages:
            return False
        say(f"installing Debian packages: {' '.join(packages)}")
        install_debian(packages)
        return True

    def _environment(self) -> bool:
        # A virtual environment holds absolute paths, so a copied or moved checkout needs a new one; one that was made by
        # hand is taken over.
        clear = ["--clear"] if self._stamps.known("venv") else []
        return self._step(
            "venv",
            digest_of([str(self._checkout), sys.version]),
            "making a virtual environment",
            [[sys.executable, "-m", "venv", *clear, str(self._venv)]],
            exists=self._python,
        )

    def _installer(self) -> bool:
        lock = self._checkout / "requirements" / "bootstrap.lock"
        pip = [str(self._python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        command = [*pip, "--require-hashes", "--no-deps", "-r", str(lock)]
        return self._step("uv", digest_of([lock]), "installing uv", [command])

    def _packages(self) -> bool:
        lock = self._checkout / "requirements" / "dev.lock"
        # Exactly the lock: a package that left it leaves the environment, too.
        command = [*self._uv("sync"), "--require-hashes", str(lock)]
        return self._step("packages", digest_of([lock]), "installing Python packages", [command])

    def _project(self) -> bool:
        project = self._checkout / "pyproject.toml"
        lock = self._checkout / "requirements" / "dev.lock"
        command = [*self._uv("install"), "--no-deps", "--no-build-isolation", "--editable", str(self._checkout)]
        what = "installing the trainyard command"
        return self._step("project", digest_of([str(self._checkout), project, lock]), what, [command])

    def _web(self) -> bool:
        web = self._checkout / "services" / "web"
        npm = str(self._venv / "bin" / "npm")
        locks = [web / "package.json", web / "package-lock.json", *web.glob(".npmrc")]
        # npm puts nothing outside the checkout's node_modules, and runs by the Node beside it.
        modules = self._step(
            "web-modules",
            digest_of(locks),
            "installing the web client's packages",
            [[npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"]],
            exists=web / "node_modules",
            cwd=web,
        )
        page = self._step(
            "web-page",
            digest_of(sources(web, skip=("node_modules", "dist"))),
            "building the web client",
            [[npm, "run", "--silent", "build"]],
            exists=web / "dist" / "index.html",
            cwd=web,
        )
        return modules or page

    def _browser(self) -> bool:
        # Each Playwright wants a build of its own.
        digest = digest_of([self._checkout / "requirements" / "dev.lock"])
        if not self._for_tests or not needs_own_browser(self._environ) or self._stamps.fresh("browser", digest):
            return False
        say("installing Playwright's browser")
        install_browser(self._python)
        self._stamps.done("browser", digest)
        return True

    def _uv(self, action: str) -> list[str]:
        return [str(self._python), "-m", "uv", "pip", action, "--quiet", "--python", str(self._python)]

    def _step(
        self,
        name: str,
        digest: str,
        what: str,
        commands: Sequence[Sequence[str]],
        *,
        exists: Path | None = None,
        cwd: Path | None = None,
    ) -> bool:
        if self._stamps.fresh(name, digest) and (exists is None or exists.exists()):
            return False
        say(what)
        began = time.monotonic()
        path = f"{self._venv / 'bin'}:{self._environ.get('PATH', os.defpath)}"
        for command in commands:
            run(command, cwd=cwd or self._checkout, environ={**self._environ, "PATH": path})
        self._stamps.done(name, digest)
        say(f"  done in {time.monotonic() - began:.0f} s")
        return True


def sources(folder: Path, *, skip: Sequence[str]) -> list[Path]:
    """Every file under `folder` but those in the folders named by `skip`, in a fixed order."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in skip)
        found += [Path(parent) / name for name in sorted(files)]
    return found


def digest_of(parts: Iterable[Path | str]) -> str:
    """One hash over texts and over names and contents of files; a file that is missing counts as such."""
    total = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) and part.is_file() else b""
        total.update(f"{part}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


@contextmanager
def alone(checkout: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Only one setup at a time in a checkout: a lock on its folder, which the kernel drops with the process."""
    folder = os.open(checkout, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("another setup is at work here: waiting for it")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def say(text: str) -> None:
    """One line for the person who waits."""
    print(f"setup: {text}", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Set the checkout up; the exit status is for make."""
    parser = argparse.ArgumentParser(prog="make setup", description="Make this checkout ready to run")
    parser.add_argument("--for-tests", action="store_true", help="also what the tests need (a browser)")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        with alone(CHECKOUT, say):
            done = Setup(CHECKOUT, os.environ, for_tests=options.for_tests).run()
    except SetupFailed as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    if done:
        say(f"ready ({time.monotonic() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
