"""Which server is talked to, with which token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.cli.config import LOCAL_FILE, USER_FILE, find_server
from shared.contract.errors import UserError

HERE = {"url": "http://here:1/", "token": "here-token"}
HOME = {"url": "http://home:2", "token": "home-token"}


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder deep in a project that has a file, below a home that has one too."""
    deep = tmp_path / "home/project/a/b"
    deep.mkdir(parents=True)
    write(tmp_path / "home/project" / LOCAL_FILE, HERE)
    write(tmp_path / "home" / USER_FILE, HOME)
    return deep


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_the_nearest_file_going_up(folder: Path, home: Path) -> None:
    found = find_server(None, None, {}, folder, home)
    assert (found.url, found.token) == ("http://here:1", "here-token")
    assert found.source.endswith("project/.trainyard/cli.json")


def test_else_the_file_at_home(folder: Path, home: Path, tmp_path: Path) -> None:
    found = find_server(None, None, {}, tmp_path, home)
    assert (found.url, found.token) == ("http://home:2", "home-token")


def test_the_data_folder_that_is_named_goes_before_the_nearest_file(folder: Path, home: Path, tmp_path: Path) -> None:
    write(tmp_path / "data/cli.json", {"url": "http://data:6", "token": "data-token"})
    found = find_server(None, None, {"TRAINYARD_DATA": str(tmp_path / "data")}, folder, home)
    assert (found.url, found.token) == ("http://data:6", "data-token")
    assert find_server(None, None, {"TRAINYARD_DATA": str(tmp_path)}, folder, home).token == "here-token"


def test_the_environment_goes_before_files_and_options_before_both(folder: Path, home: Path) -> None:
    environment = {"TRAINYARD_URL": "http://env:3", "TRAINYARD_TOKEN": "env-token"}
    found = find_server(None, None, environment, folder, home)
    assert (found.url, found.token, found.source) == ("http://env:3", "env-token", "TRAINYARD_URL")
    found = find_server("https://option:4/x/", "option-token", environment, folder, home)
    assert (found.url, found.token, found.source) == ("https://option:4/x", "option-token", "--url")
    assert found.websocket_url() == "wss://option:4/x/api/ws"


def test_a_token_of_a_file_goes_to_no_other_server(folder: Path, home: Path) -> None:
    with pytest.raises(UserError) as caught:
        find_server("http://elsewhere:5", None, {}, folder, home)
    assert (caught.value.code, caught.value.field) == ("no_token", "token")
    assert find_server("http://home:2/", None, {}, folder, home).token == "home-token"


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make up") as caught:
        find_server(None, None, {}, tmp_path, tmp_path)
    assert caught.value.code == "no_server"


@pytest.mark.parametrize("content", ["{", "[]", '{"url": 5}', "\xff"])
def test_a_file_that_is_no_settings_is_named(tmp_path: Path, content: str) -> None:
    write(tmp_path / LOCAL_FILE, content)
    with pytest.raises(UserError, match=r"cli\.json") as caught:
        find_server(None, None, {}, tmp_path, tmp_path)
    assert caught.value.code == "bad_config"


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://x:port", "http://[1", "http://x:0"])
def test_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match="not an address") as caught:
        find_server(url, "t", {}, tmp_path, tmp_path)
    assert caught.value.code == "bad_url"
