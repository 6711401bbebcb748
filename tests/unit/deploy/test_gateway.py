"""How the gateway's template is filled in."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from deploy.local.gateway import TEMPLATE, local_values, render, write_config

SERVICES = {"dataset": "http://127.0.0.1:1", "scheduler": "http://127.0.0.1:2", "status": "http://127.0.0.1:3"}


def values(tmp_path: Path) -> dict[str, str]:
    return local_values(run=tmp_path / "run", web_root=tmp_path / "dist", port=8080, token="t", services=SERVICES)


def test_the_local_values_are_exactly_the_template_s_names(tmp_path: Path) -> None:
    names = set(re.findall(r"\$\{(\w+)\}", TEMPLATE.read_text()))
    assert names == set(values(tmp_path))


def test_nginx_s_own_names_stay() -> None:
    assert render("$host ${TRAINYARD_A} ${request_id}", {"TRAINYARD_A": "x"}) == "$host x ${request_id}"


def test_a_name_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="TRAINYARD_B"):
        render("${TRAINYARD_B}", {})


def test_the_file_holds_a_token_and_is_its_owner_s_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "nginx.conf").write_text("an older one, readable by all")
    path = write_config(tmp_path / "run", values(tmp_path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "trainyard_token=t; Path=/; HttpOnly; SameSite=Strict" in path.read_text()


@pytest.mark.parametrize("name", ['a"b', "a$b", "a\\b"])
def test_a_folder_that_nginx_cannot_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="nginx cannot use a folder"):
        local_values(run=tmp_path / name, web_root=tmp_path, port=8080, token="t", services=SERVICES)
