"""The local stack's settings: where they come from, what is refused and in which words."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from deploy.local import ports
from deploy.local.settings import (
    BLOCK,
    SettingError,
    Settings,
    check_gateway_port,
    choose_ports,
    read_settings,
)


@pytest.fixture
def taken() -> Iterator[int]:
    """A loopback port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind((ports.LOOPBACK, 0))
        listener.listen()
        yield listener.getsockname()[1]


def settings(tmp_path: Path, **environ: str) -> Settings:
    read = read_settings(tmp_path, environ)
    read.data.mkdir(parents=True, exist_ok=True)
    return read


def test_defaults(tmp_path: Path) -> None:
    read = settings(tmp_path)
    assert (read.port, read.trainers, read.base_port) == (8080, 1, None)
    assert read.data == tmp_path / ".trainyard"
    assert read.url == "http://localhost:8080"


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TRAINYARD_PORT=8090\nTRAINERS=2\nMIN_STEPS=20\n")
    read = read_settings(tmp_path, {"TRAINYARD_PORT": "8091"}, trainers=3)
    assert (read.port, read.trainers) == (8091, 3)
    assert read.environ["MIN_STEPS"] == "20"
    assert read_settings(tmp_path, {}).trainers == 2


@pytest.mark.parametrize("name", ["TRAINYARD_PORT", "TRAINYARD_BASE_PORT", "TRAINERS"])
@pytest.mark.parametrize("value", ["x", "-1", "99999", "1.5", "١٢"])
def test_a_wrong_number_is_named_with_its_limits(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingError, match=rf"{name} is '{value}': it must be a number from \d+ to \d+"):
        settings(tmp_path, **{name: value})


def test_too_many_trainers_on_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="TRAINERS is 65: it must be a number from 0 to 64"):
        read_settings(tmp_path, {}, trainers=65)


def test_an_empty_address_counts_as_not_given(tmp_path: Path) -> None:
    read = settings(tmp_path, RABBITMQ_URL="", MONGO_URL="mongodb://store/")
    assert read.given("RABBITMQ_URL") is None
    assert read.given("MONGO_URL") == "mongodb://store/"


def test_two_checkouts_get_different_ports_and_remember_them(tmp_path: Path) -> None:
    one, two = settings(tmp_path, TRAINYARD_DATA="one"), settings(tmp_path, TRAINYARD_DATA="two")
    first, second = choose_ports(one), choose_ports(two)
    assert abs(first.base - second.base) >= BLOCK
    assert choose_ports(one) == first
    (one.data / "ports.json").write_text(json.dumps({"base_port": first.base + 7}))
    assert choose_ports(one).base == first.base + 7


@pytest.mark.parametrize("spoiled", ["", "[]", "{}", '{"base_port": "x"}', "null"])
def test_a_spoiled_memory_of_ports_is_replaced(tmp_path: Path, spoiled: str) -> None:
    read = settings(tmp_path)
    (read.data / "ports.json").write_text(spoiled)
    chosen = choose_ports(read)
    assert json.loads((read.data / "ports.json").read_text()) == {"base_port": chosen.base}


def test_a_remembered_block_in_use_gives_way(tmp_path: Path, taken: int) -> None:
    read = settings(tmp_path)
    (read.data / "ports.json").write_text(json.dumps({"base_port": taken}))
    assert choose_ports(read).base != taken


def test_a_set_block_in_use_is_refused_and_names_the_holder(tmp_path: Path, taken: int) -> None:
    read = settings(tmp_path, TRAINYARD_BASE_PORT=str(taken))
    with pytest.raises(SettingError, match=rf"port {taken} is in use by .*: set TRAINYARD_BASE_PORT"):
        choose_ports(read)


def test_no_port_in_the_choice_is_shared(tmp_path: Path) -> None:
    chosen = choose_ports(settings(tmp_path, TRAINERS="64"))
    parts = ("broker", "broker_dist", "epmd", "store", "dataset", "scheduler", "status")
    used = [chosen.of(part) for part in parts] + [chosen.trainer(number) for number in range(1, 65)]
    assert len(set(used)) == len(used)
    assert all(chosen.base <= port < chosen.base + BLOCK for port in used)


def test_the_page_s_port_in_use_is_refused_and_names_the_setting(tmp_path: Path, taken: int) -> None:
    with pytest.raises(SettingError, match=rf"port {taken} is in use by .*\(process \d+\).*TRAINYARD_PORT=8081"):
        check_gateway_port(settings(tmp_path, TRAINYARD_PORT=str(taken)))


def test_a_port_whose_holder_cannot_be_seen_is_still_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    (free,) = ports.free_ports(1)
    assert ports.is_free(free)
    assert ports.holder(free) == "another program"

    def refuse(kind: str) -> NoReturn:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    assert ports.holder(free) == "another program"
