"""What the local stack consists of: for each line of the Procfile its environment, its readiness and its end.

Owns the map from settings to programs, pure but for the readiness checks that it hands out; the supervisor runs them.
"""

from __future__ import annotations

import http.client
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from honcho.environ import parse_procfile

from deploy.local import gateway, rabbitmq, store
from deploy.local.ports import LOOPBACK
from deploy.local.settings import Ports, Settings

PROCFILE = Path(__file__).parent / "Procfile"

# A trainer saves a final checkpoint first, which takes up to a minute on a busy machine.
TRAINER_STOP_SECONDS = 75.0
SERVICE_STOP_SECONDS = 20.0
SERVICE_READY_SECONDS = 60.0
# Who must have ended before who is told to end: trainers hand their jobs back while the scheduler still listens.
STOP_ORDER = (("trainer",), ("dataset", "scheduler", "status"), ("gateway",), ("broker", "store"), ("epmd",))
# Who starts side by side, once everything before is ready.
START_ORDER = (("epmd", "store"), ("broker",), ("dataset", "scheduler", "status", "trainer"), ("gateway",))

# Banners and chatter of software that isn't ours; it keeps logs of its own in the data folder.
_QUIET = frozenset({"epmd", "broker", "store"})
_NOT_FOR_TRAINERS = ("TRAINYARD_SECRET", "MONGO_URL")


@dataclass(frozen=True, slots=True)
class Program:
    """One process of the stack. `kind` is its name in the Procfile; trainers share one. A quiet one is heard when it fails."""

    name: str
    kind: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ready: Callable[[], bool]
    ready_seconds: float
    stop_seconds: float
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """The installation's signing secret and the tokens made with it."""

    secret: str
    page_token: str


def programs(settings: Settings, ports: Ports, credentials: Credentials) -> list[Program]:
    """Every program to run, in the Procfile's order."""
    lines: dict[str, str] = parse_procfile(PROCFILE.read_text()).processes
    given = {"epmd": "RABBITMQ_URL", "broker": "RABBITMQ_URL", "store": "MONGO_URL"}
    return [
        _program(kind, line, number, settings, ports, credentials)
        for kind, line in lines.items()
        if not (kind in given and settings.given(given[kind]))
        for number in (range(1, settings.trainers + 1) if kind == "trainer" else [0])
    ]


def addresses(settings: Settings, ports: Ports) -> dict[str, str]:
    """Broker, store, artifacts and services as every process of the stack is told them; given ones go first."""
    own = {
        "RABBITMQ_URL": _rabbit(settings, ports).url,
        "MONGO_URL": _store(settings, ports).url,
        "ARTIFACTS_URL": (settings.data / "artifacts").as_uri(),
    }
    services = {f"{name.upper()}_URL": _url(ports.of(name)) for name in ("dataset", "scheduler", "status")}
    return {name: settings.given(name) or value for name, value in own.items()} | services


def answers_ready(port: int, path: str) -> bool:
    """Whether a GET on loopback gives 200 within three seconds. No proxy from the environment is used."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=3)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _program(kind: str, line: str, number: int, settings: Settings, ports: Ports, credentials: Credentials) -> Program:
    word, *rest = shlex.split(line)
    command = (sys.executable if word == "python" else word, *rest)
    environment = {
        **settings.environ,
        **addresses(settings, ports),
        "PATH": f"{Path(sys.executable).parent}:{settings.environ.get('PATH', '/usr/bin:/bin')}",
        "PYTHONUNBUFFERED": "1",
        "HOST": LOOPBACK,
        "TRAINYARD_DATA": str(settings.data),
        "TRAINYARD_SECRET": credentials.secret,
        "LOG_FORMAT": settings.environ.get("LOG_FORMAT") or ("console" if sys.stdout.isatty() else "json"),
    }
    if kind == "trainer":  # it may run on anybody's machine, so it has to do without
        for name in _NOT_FOR_TRAINERS:
            del environment[name]
    name = f"trainer-{number}" if kind == "trainer" else kind
    ready, ready_seconds, stop_seconds, own = _part(kind, number, settings, ports, credentials)
    return Program(name, kind, command, environment | own, ready, ready_seconds, stop_seconds, kind in _QUIET)


def _part(
    kind: str, number: int, settings: Settings, ports: Ports, credentials: Credentials
) -> tuple[Callable[[], bool], float, float, dict[str, str]]:
    """Readiness, seconds for it, seconds for the end, and the environment that this kind alone has."""
    rabbit = _rabbit(settings, ports)
    broker_environment = {
        "BROKER_DATA": str(rabbit.folder),
        "BROKER_PORT": str(rabbit.port),
        "BROKER_DIST_PORT": str(rabbit.dist_port),
        "BROKER_EPMD_PORT": str(rabbit.epmd_port),
    }
    match kind:
        case "epmd":
            return rabbit.epmd_ready, 10.0, 2.0, broker_environment
        case "broker":
            return rabbit.ready, rabbitmq.READY_SECONDS, rabbitmq.STOP_SECONDS, broker_environment
        case "store":
            node = _store(settings, ports)
            own = {"STORE_DATA": str(node.folder), "STORE_PORT": str(node.port)}
            return node.ready, store.READY_SECONDS, store.STOP_SECONDS, own
        case "trainer":
            port = ports.trainer(number)
            name = f"trainer-{number}"
            own = {"PORT": str(port), "TRAINER_NAME": name, "WORK_DIR": str(settings.data / "trainers" / name)}
            return partial(answers_ready, port, "/readyz"), SERVICE_READY_SECONDS, TRAINER_STOP_SECONDS, own
        case "gateway":
            own = {
                "PORT": str(settings.port),
                "GATEWAY_DATA": str(settings.data / "gateway"),
                "GATEWAY_TOKEN": credentials.page_token,
                "WEB_ROOT": str(settings.checkout / "services" / "web" / "dist"),
            }
            return partial(answers_ready, settings.port, "/healthz"), 10.0, gateway.STOP_SECONDS, own
        case _:
            port = ports.of(kind)
            own = {"PORT": str(port)}
            if kind == "dataset":
                own["IMPORT_DIR"] = str(settings.data / "imports")
            return partial(answers_ready, port, "/readyz"), SERVICE_READY_SECONDS, SERVICE_STOP_SECONDS, own


def _rabbit(settings: Settings, ports: Ports) -> rabbitmq.RabbitNode:
    return rabbitmq.RabbitNode(
        folder=settings.data / "broker",
        port=ports.of("broker"),
        dist_port=ports.of("broker_dist"),
        epmd_port=ports.of("epmd"),
    )


def _store(settings: Settings, ports: Ports) -> store.StoreNode:
    return store.StoreNode(folder=settings.data / "store", port=ports.of("store"))


def _url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"
