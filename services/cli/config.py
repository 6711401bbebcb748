"""Which server the command talks to, and with which token.

Owns the search: options, environment, the `cli.json` of the data folder that TRAINYARD_DATA names, the nearest
`.trainyard/cli.json` going up from the current folder, then the one in `~/.config/trainyard`. Knows nothing of HTTP. A file's
token goes to that file's server and to no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from shared.contract.errors import UserError

LOCAL_FILE = Path(".trainyard/cli.json")
USER_FILE = Path(".config/trainyard/cli.json")


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A server and the token for it. `url` has no slash at its end; `source` says where the address was found."""

    url: str
    token: str
    source: str

    def websocket_url(self) -> str:
        """Where the live stream is."""
        return "ws" + self.url.removeprefix("http") + "/api/ws"


class _File(msgspec.Struct, frozen=True):
    url: str | None = None
    token: str | None = None


def find_server(url: str | None, token: str | None, environment: Mapping[str, str], folder: Path, home: Path) -> Server:
    """The server to talk to. `url` and `token` are the options, None where they weren't given.

    Raises UserError `no_server`, `no_token`, `bad_url` or `bad_config` (field: what is wrong, or the file's name).
    """
    files = list(_files(environment, folder, home))
    found, source = _url(url, environment, files)
    found = _checked(found, source)
    given = token or environment.get("TRAINYARD_TOKEN")
    if given is None:
        given = next((file.token for _, file in files if file.token and _same(file.url, found)), None)
    if given is None:
        raise UserError(
            "no_token",
            f"There is no token for {found}: give --token, set TRAINYARD_TOKEN, or write it to {LOCAL_FILE}.",
            "token",
        )
    return Server(url=found, token=given.strip(), source=source)


def _url(url: str | None, environment: Mapping[str, str], files: list[tuple[Path, _File]]) -> tuple[str, str]:
    if url:
        return url, "--url"
    if from_environment := environment.get("TRAINYARD_URL"):
        return from_environment, "TRAINYARD_URL"
    for path, file in files:
        if file.url:
            return file.url, str(path)
    raise UserError(
        "no_server",
        "No server is known. Start one here with `make up`, or name one with --url or TRAINYARD_URL.",
        "url",
    )


def _files(environment: Mapping[str, str], folder: Path, home: Path) -> Iterator[tuple[Path, _File]]:
    data = environment.get("TRAINYARD_DATA")
    given = Path(data).expanduser() / LOCAL_FILE.name if data else None
    near = (parent / LOCAL_FILE for parent in (folder, *folder.parents))
    nearest = next((path for path in near if path.is_file()), None)
    for path in (given, nearest, home / USER_FILE):
        if path is not None and path.is_file():
            yield path, _read(path)


def _read(path: Path) -> _File:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError("bad_config", f"{path} can't be used: {error}", str(path)) from error


def _checked(url: str, source: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise UserError("bad_url", f"{url!r} (from {source}) is not an address like http://localhost:8080.", "url")
    return url.rstrip("/")


def _same(url: str | None, other: str) -> bool:
    return url is not None and url.rstrip("/") == other
