"""The documents say what the code says: the message and queue catalogues of ARCHITECTURE.md are complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from shared.contract import events, topology

ROOT = Path(__file__).resolve().parents[2]


def _rows(heading: str) -> set[str]:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))


def test_every_message_and_queue_is_in_the_catalogue() -> None:
    messages = {events.wire_name(kind) for kind in (*get_args(events.Fact), *get_args(events.Command))}
    queues = {queue.name for queue in topology.QUEUES} | {topology.trainer_queue("<id>").name}
    assert _rows("Messages") == messages | queues


def test_relative_links_lead_somewhere() -> None:
    for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text()):
            assert "://" in target or (ROOT / target).exists(), f"{name} links to {target}"
