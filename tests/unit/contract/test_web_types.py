"""The web client's types are made from the contract, and its lock holds no addresses."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from msgspec import inspect as shapes

from services.web.scripts.generate_types import TARGET, reachable, render, typescript
from shared.contract.api.jobs import Plan
from shared.contract.jobs import TERMINAL, JobState

WEB = TARGET.parent.parent
LOCK = WEB / "package-lock.json"
# A literal that is a sentence's beginning, text between tags, or a language's name.
_ENGLISH = re.compile(r'"en(-[A-Z]+)?"|"[A-Z][a-z’]+ [a-z][^"]*"|>[^<>{}=]*[A-Za-z]{3,} [a-z]{2,}[^<>{}=]*</|`about ')
# What is said, code for robots and how things are written: another language is other ones of these.
_SAID_IN = {"texts.ts", "snippets.ts", "locale.ts"}


def test_contract_ts_is_what_the_contract_makes() -> None:
    written = TARGET.read_text(encoding="utf-8")
    assert written == render(), "make generate"


def test_every_state_is_there() -> None:
    made = render()
    for state in JobState:
        assert f'  "{state.value}",\n' in made
    terminal = next(line for line in made.splitlines() if line.startswith("export const TERMINAL"))
    assert [state for state in JobState if f'"{state.value}"' in terminal] == [s for s in JobState if s in TERMINAL]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (list[int | None], "(number | null)[]"),
        (dict[str, list[float]], "Record<string, number[]>"),
        (bool | None, "boolean | null"),
    ],
)
def test_types_translate(kind: object, expected: str) -> None:
    assert typescript(shapes.type_info(kind)) == expected


def test_what_a_request_may_leave_out_and_an_answer_may_lack() -> None:
    made = render()
    assert "  starting_model?: string;\n  steps?: number | null;\n  max_minutes?: number | null;\n" in made  # asked
    assert "  details?: Record<string, unknown>;\n" in made
    for name, fields in re.findall(r"^export interface (\w+) \{\n(.*?)^\}", made, re.MULTILINE | re.DOTALL):
        # Whatever is answered is always there.
        assert "?: " not in fields or name.endswith("Request") or name == "ErrorBody", name


def test_a_type_without_a_translation_is_refused() -> None:
    with pytest.raises(TypeError, match="no TypeScript type is known"):
        typescript(shapes.type_info(bytes))


def test_two_structs_of_one_name_are_refused() -> None:
    twin = msgspec.defstruct("Plan", [("steps", int)])
    with pytest.raises(TypeError, match="two structs are named Plan"):
        reachable(shapes.multi_type_info([Plan, twin]))


def test_the_lock_holds_no_addresses() -> None:
    assert "://" not in LOCK.read_text(encoding="utf-8"), "run `npm run lock` in services/web"


def test_the_page_names_no_other_origin() -> None:
    sources = [WEB / "index.html", *(WEB / "src").rglob("*.ts*"), *(WEB / "src").rglob("*.css")]
    assert [path.name for path in sources if _addresses(path)] == []


def test_english_is_in_the_files_of_the_language_alone() -> None:
    assert [path.name for path in (WEB / "src").rglob("*.ts*") if _english(path) and path.name not in _SAID_IN] == []
    assert _english(WEB / "src" / "texts.ts")


def _english(path: Path) -> bool:
    return _ENGLISH.search(path.read_text(encoding="utf-8")) is not None


def _addresses(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    return "http://" in text or "https://" in text or "//" + "cdn" in text
