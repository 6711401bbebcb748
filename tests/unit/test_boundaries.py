"""Who may import whom, and what must be installed where: the rules of pyproject's import-linter section, and two more."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]
OURS = {"shared", "services", "deploy", "tests"}
ENGINE = ("services/trainer/engine/", "services/trainer/child.py")
# Drawing boxes with a downloaded model is for who has LiteRT (and with it flatbuffers); the command says so where it is absent.
OPTIONAL = {("services/cli/detect.py", "ai-edge-litert"), ("services/cli/detect.py", "flatbuffers")}


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if "node_modules" not in path.parts and "web" not in path.relative_to(ROOT).parts]


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """The full names of what a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def foreign(path: Path) -> set[str]:
    """The top-level packages of other people's that a module imports."""
    tops = {name.partition(".")[0] for name in imported(path)}
    return tops - OURS - set(sys.stdlib_module_names)


@cache
def installed_packages() -> Mapping[str, list[str]]:
    return packages_distributions()


def distributions(package: str) -> set[str]:
    names = installed_packages().get(package, [package])
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def locked(lock: str) -> set[str]:
    text = (ROOT / "requirements" / lock).read_text()
    return {re.sub(r"[-_.]+", "-", name).lower() for name in re.findall(r"(?m)^([A-Za-z0-9_.-]+)==", text)}


def test_the_import_rules_hold(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    status = lint_imports(config_filename="pyproject.toml", no_cache=True, no_logo=True)
    assert status == 0, capsys.readouterr().out


@pytest.mark.parametrize("path", sources("shared/contract"), ids=place)
def test_the_contract_is_pure(path: Path) -> None:
    assert foreign(path) <= {"msgspec"}
    assert all(name.startswith("shared.contract") for name in imported(path) if name.partition(".")[0] in OURS)
    assert not {"asyncio", "os", "socket", "subprocess", "time", "uuid", "pathlib"} & set(imported(path))


def test_only_the_engine_and_its_child_process_load_tensorflow() -> None:
    modules = [
        place(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in sources("shared", "services")
        if not place(path).startswith(ENGINE)
    ]
    assert len(modules) > 50
    script = f"""
import importlib, sys
for name in {modules!r}:
    importlib.import_module(name)
heavy = {{"tensorflow", "tf_keras", "keras", "official", "cv2", "scipy", "matplotlib"}}
sys.exit(", ".join(sorted(heavy & set(sys.modules))) or 0)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("lock", "folders"),
    [
        ("services.lock", ["shared", "services/dataset", "services/scheduler", "services/status", "services/cli"]),
        ("trainer.lock", ["shared", "services/trainer"]),
        ("dev.lock", ["shared", "services", "deploy", "tests"]),
    ],
)
def test_what_is_imported_is_locked(lock: str, folders: list[str]) -> None:
    installed = locked(lock)
    missing = {
        (place(path), "/".join(sorted(distributions(package))))
        for path in sources(*folders)
        for package in foreign(path)
        if not distributions(package) & installed
    }
    assert missing - OPTIONAL == set()
