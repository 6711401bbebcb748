"""The documents say what the code says: ARCHITECTURE.md's catalogues are complete, what is made from the code is current."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from shared.contract import events, topology
from tests.support import reference

ROOT = Path(__file__).resolve().parents[2]


def _section(heading: str) -> str:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def _rows(heading: str) -> set[str]:
    return set(re.findall(r"^\| `([^`]+)` \|", _section(heading), re.MULTILINE))


def test_every_message_and_queue_is_in_the_catalogue() -> None:
    messages = {events.wire_name(kind) for kind in (*get_args(events.Fact), *get_args(events.Command))}
    queues = {queue.name for queue in topology.QUEUES} | {topology.trainer_queue("<id>").name}
    assert _rows("Messages") == messages | queues


@pytest.mark.parametrize(
    ("heading", "package"),
    [
        ("Inside the scheduler", "services/scheduler"),
        ("Inside the trainer", "services/trainer"),
        ("Inside the status service", "services/status"),
        ("Inside the dataset service", "services/dataset"),
        ("What all services stand on", "shared/runtime"),
    ],
)
def test_every_module_has_its_place(heading: str, package: str) -> None:
    first_cells = re.findall(r"^\|([^|]+)\|", _section(heading), re.MULTILINE)
    named = set(re.findall(r"`([\w/]+\.py|[\w/]+/)`", "".join(first_cells)))
    folder = ROOT / package
    modules = {str(path.relative_to(folder)) for path in folder.rglob("*.py")}
    everywhere = {"__init__.py", "__main__.py", "app.py", "settings.py", "http.py", "handlers.py"}
    wanted = {
        name
        for name in modules
        if Path(name).name not in everywhere and not any(name.startswith(part) for part in named if part.endswith("/"))
    }
    assert wanted <= named
    assert {name for name in named if not name.endswith("/")} <= modules, "a module that isn't there"


def test_what_is_made_from_the_code_is_made_from_this_code() -> None:
    assert reference.TARGET.read_text() == reference.render(), "make generate"
    # As test_nobody_but_an_operator_may of the scheduler's routes shows.
    for_operators = [route for route in reference.routes("scheduler") if route.path.startswith("/api/admin/")]
    assert {route.who for route in for_operators} == {"admin"}


def test_relative_links_lead_somewhere() -> None:
    for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text()):
            assert "://" in target or (ROOT / target).exists(), f"{name} links to {target}"
