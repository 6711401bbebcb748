"""What a person may set for the local stack: `.env` in the checkout, overruled by the environment.

Owns reading and checking; must not start anything. A value that can't be right raises SettingError, which names the
variable, the value and the limit.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from deploy.local.ports import holder, is_free

MAX_TRAINERS = 64
# Every process of a checkout listens inside one block, below the range that the kernel hands out to clients.
BLOCK = 100
_FIRST_BLOCK, _BLOCKS = 20000, 120
_TRAINER_OFFSET = 20
_OFFSETS = {"broker": 0, "broker_dist": 1, "epmd": 2, "store": 3, "dataset": 10, "scheduler": 11, "status": 12}


class SettingError(Exception):
    """A setting that can't be used; the text is for the person who set it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings, checked. `environ` is what every process of the stack starts from."""

    checkout: Path
    data: Path
    port: int
    base_port: int | None
    trainers: int
    environ: Mapping[str, str]

    def given(self, name: str) -> str | None:
        """The address that was given for a part (RABBITMQ_URL, …), which then isn't started here."""
        return self.environ.get(name) or None

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page."""
        return f"http://localhost:{self.port}"


@dataclass(frozen=True, slots=True)
class Ports:
    """The loopback ports of one checkout."""

    base: int

    def of(self, part: str) -> int:
        """The port of broker, broker_dist, epmd, store, dataset, scheduler or status."""
        return self.base + _OFFSETS[part]

    def trainer(self, number: int) -> int:
        """The port of a trainer, counted from 1."""
        return self.base + _TRAINER_OFFSET + number - 1


def read_settings(checkout: Path, environ: Mapping[str, str], *, trainers: int | None = None) -> Settings:
    """Read `.env` and the environment (which wins); `trainers` from the command line wins over both."""
    merged = {key: value for key, value in dotenv_values(checkout / ".env").items() if value is not None} | dict(
        environ
    )
    base = _number(merged, "TRAINYARD_BASE_PORT", None, 1024, 65535 - BLOCK)
    port = _number(merged, "TRAINYARD_PORT", 8080, 1, 65535)
    count = trainers if trainers is not None else _number(merged, "TRAINERS", 1, 0, MAX_TRAINERS)
    assert port is not None
    assert count is not None
    if not 0 <= count <= MAX_TRAINERS:
        raise SettingError(f"TRAINERS is {count}: it must be a number from 0 to {MAX_TRAINERS}")
    data = (checkout / merged.get("TRAINYARD_DATA", ".trainyard")).expanduser().resolve()
    return Settings(checkout, data, port, base, count, merged)


def choose_ports(settings: Settings) -> Ports:
    """The checkout's block of ports: the one that was set, else the remembered one, else one derived from its path.

    A remembered or derived block with a port in use gives way to the next; the choice is remembered in the data folder.
    """
    offsets = [*_OFFSETS.values(), *(_TRAINER_OFFSET + number for number in range(settings.trainers))]
    if settings.base_port is not None:
        for port in (settings.base_port + offset for offset in offsets):
            if not is_free(port):
                raise SettingError(
                    f"port {port} is in use by {holder(port)}: set TRAINYARD_BASE_PORT to another number "
                    f"(this stack uses up to {BLOCK} ports from there)"
                )
        return Ports(settings.base_port)
    memory = settings.data / "ports.json"
    start = zlib.crc32(os.fsencode(settings.data)) % _BLOCKS
    derived = [_FIRST_BLOCK + BLOCK * ((start + step) % _BLOCKS) for step in range(_BLOCKS)]
    for base in [*_remembered(memory), *derived]:
        if all(is_free(base + offset) for offset in offsets):
            memory.write_text(json.dumps({"base_port": base}) + "\n")
            return Ports(base)
    raise SettingError("no free block of ports was found: set TRAINYARD_BASE_PORT")


def check_gateway_port(settings: Settings) -> None:
    """Say who holds the gateway's port, as that one is never changed silently."""
    if not is_free(settings.port):
        raise SettingError(
            f"port {settings.port} is in use by {holder(settings.port)}: end that, or choose another port for the page, "
            "for example: TRAINYARD_PORT=8081 make up"
        )


def _remembered(memory: Path) -> list[int]:
    try:
        return [int(json.loads(memory.read_text())["base_port"])]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []  # the first start, or a file that somebody spoiled: choose again


def _number(environ: Mapping[str, str], name: str, default: int | None, low: int, high: int) -> int | None:
    text = environ.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise SettingError(f"{name} is {text!r}: it must be a number from {low} to {high}")
    return int(text)
