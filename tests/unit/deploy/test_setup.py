"""What `make setup` decides: which packages are missing, when a step is due, what it says when it can't go on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import machine
from deploy.local.machine import SetupFailed, check_machine, find_browser, missing_packages
from deploy.local.setup import Setup, Stamps, alone, digest_of, sources


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_another_python_is_refused_with_the_way_out(version: tuple[int, int]) -> None:
    way_out = rf"this is Python 3\.{version[1]}, 3\.11 to 3\.13 is needed: make setup PYTHON=python3\.13"
    with pytest.raises(SetupFailed, match=way_out):
        check_machine(version, "linux", "x86_64")


def test_another_system_or_processor_is_refused_with_the_reason() -> None:
    with pytest.raises(SetupFailed, match="docker compose"):
        check_machine((3, 12), "darwin", "x86_64")
    with pytest.raises(SetupFailed, match="aarch64 processor, the pinned TensorFlow is built for x86_64"):
        check_machine((3, 12), "linux", "aarch64")
    check_machine((3, 11), "linux", "x86_64")


def test_a_stamp_is_fresh_for_what_it_was_made_for_only(tmp_path: Path) -> None:
    stamps = Stamps(tmp_path / "stamps")
    assert not stamps.fresh("step", "a")
    assert not stamps.known("step")
    stamps.done("step", "a")
    assert stamps.known("step")
    assert stamps.fresh("step", "a")
    assert not stamps.fresh("step", "b")


def test_the_digest_follows_contents_names_and_absence(tmp_path: Path) -> None:
    file = tmp_path / "a"
    absent = digest_of([file])
    file.write_text("1")
    one = digest_of([file])
    file.write_text("2")
    assert len({absent, one, digest_of([file]), digest_of([file, file]), digest_of(["text"])}) == 5
    file.write_text("1")
    assert digest_of([file]) == one


def test_sources_leave_out_what_is_made_from_them(tmp_path: Path) -> None:
    for name in ("src/b.ts", "src/a.ts", "dist/x.js", "node_modules/y/z.js", "index.html"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in sources(tmp_path, skip=("node_modules", "dist"))]
    assert found == ["index.html", "src/a.ts", "src/b.ts"]


def test_a_chosen_browser_wins_and_must_exist(tmp_path: Path) -> None:
    browser = tmp_path / "chromium"
    browser.write_text("#!/bin/sh\n")
    browser.chmod(0o755)
    assert find_browser({"CHROMIUM": str(browser), "PATH": ""}) == str(browser)
    assert find_browser({"PATH": str(tmp_path)}) == str(browser)
    assert find_browser({"PATH": str(tmp_path / "none")}) is None
    with pytest.raises(SetupFailed, match="CHROMIUM is '/no/browser': there is no such program"):
        find_browser({"CHROMIUM": "/no/browser"})


def test_a_bare_machine_lacks_a_browser_for_the_tests_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "is_ubuntu", lambda: False)
    environ = {"PATH": str(tmp_path)}
    with_tests = missing_packages(environ, for_tests=True, with_venv=False)
    assert [name for name in with_tests if name not in missing_packages(environ, for_tests=False, with_venv=False)] == [
        "chromium"
    ]


def ubuntu_setup(checkout: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Setup:
    """Set-up on an Ubuntu without a browser, where the environment's Python is a shell script."""
    monkeypatch.setattr(machine, "is_ubuntu", lambda: True)
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    assert "chromium" not in missing_packages({"PATH": str(checkout)}, for_tests=True, with_venv=False)
    return Setup(checkout, {"PATH": str(checkout)}, for_tests=True)


def test_on_ubuntu_the_browser_is_playwright_s_for_the_tests_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = ubuntu_setup(tmp_path, monkeypatch, f'echo "$@" >> {tmp_path}/calls')
    assert setup._browser()
    assert not setup._browser()
    assert (tmp_path / "calls").read_text() == "-m playwright install --with-deps chromium\n"
    assert not Setup(tmp_path, {"PATH": ""}, for_tests=False)._browser()


def test_a_browser_that_cannot_be_installed_is_asked_for_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SetupFailed, match=r"make test CHROMIUM=/path/to/chromium") as caught:
        ubuntu_setup(tmp_path, monkeypatch, "exit 1")._browser()
    assert "\n" not in str(caught.value)


def test_without_root_and_sudo_the_line_to_type_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\nexit 1\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupFailed, match=r"as root, install these first: apt-get install .* nginx-light"):
        machine.install_debian(["nginx-light"])
    apt.unlink()
    with pytest.raises(SetupFailed, match="this machine has no apt-get"):
        machine.install_debian(["nginx-light"])


def test_a_failing_and_a_missing_command_are_named(tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match="failed with code 3"):
        machine.run([sys.executable, "-c", "raise SystemExit(3)"], cwd=tmp_path, environ=os.environ)
    with pytest.raises(SetupFailed, match="could not be run"):
        machine.run(["/no/such/program"], cwd=tmp_path, environ=os.environ)


def test_two_setups_do_not_collide(tmp_path: Path) -> None:
    told: list[str] = []
    code = (
        "import sys; from pathlib import Path; from deploy.local.setup import alone\n"
        "with alone(Path(sys.argv[1]), print): print('mine', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"

        def told_so(text: str) -> None:
            told.append(text)
            assert other.stdin is not None
            other.stdin.close()  # the other one ends

        with alone(tmp_path, told_so):
            assert other.wait() == 0
    assert told == ["another setup is at work here: waiting for it"]


@pytest.mark.parametrize(("text", "expected"), [("NAME=x\nID=ubuntu\n", True), ("ID=debian\n", False), (None, False)])
def test_ubuntu_is_known_by_its_release_file(tmp_path: Path, text: str | None, expected: bool) -> None:
    release = tmp_path / "os-release"
    if text is not None:
        release.write_text(text)
    assert machine.is_ubuntu(release) is expected
