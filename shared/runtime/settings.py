"""What every service is told through its environment, checked at start.

Owns the settings that services share; each service adds its own in its settings.py. A value that can't be right ends the
process with one line that names the variable, the value and the limit.
"""

from __future__ import annotations

import sys
from typing import Literal, NoReturn, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

# Addresses may carry a password.
_SECRET = ("SECRET", "TOKEN", "PASSWORD", "URL")


class ServiceSettings(BaseSettings):
    """Shared by all services: enough for one that meets others on the bus alone, as a trainer does.

    Names of environment variables are the field names in capitals.
    """

    model_config = SettingsConfigDict(env_prefix="", extra="ignore", frozen=True)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(0, ge=0, le=65535, description="port to listen on, 0 for any free one")
    rabbitmq_url: str = Field("amqp://guest:guest@127.0.0.1:5672/", description="the broker")
    artifacts_url: str = Field("file:///var/lib/trainyard/artifacts", description="fsspec URL of the artifact store")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"
    drain_seconds: float = Field(10.0, ge=0, le=3600, description="how long a stop waits for work under way")


class CommonSettings(ServiceSettings):
    """Shared by the services that answer people's requests: they have a store, and check tokens."""

    mongo_url: str = Field("mongodb://127.0.0.1:27017/?directConnection=true", description="the store")
    mongo_prefix: str = Field("trainyard_", pattern=r"^[a-zA-Z0-9_]{0,40}$", description="prefix of database names")
    trainyard_secret: str = Field(min_length=32, description="HS256 secret of bearer tokens, at least 32 characters")
    allowed_origins: str = Field(
        "", description="comma-separated origins that browsers may come from besides the gateway's own host"
    )


S = TypeVar("S", bound=BaseSettings)


def load(kind: type[S]) -> S:
    """The settings from the environment; prints what is wrong, by variable, and exits with status 2."""
    try:
        return kind()
    except ValidationError as error:
        _refuse(error)
    except SettingsError as error:  # a list or table that isn't JSON: named, but never with its value
        print(error, file=sys.stderr)
        sys.exit(2)


def _refuse(error: ValidationError) -> NoReturn:
    for problem in error.errors():
        name = "_".join(str(part) for part in problem["loc"]).upper() or "(settings)"
        # A secret must not end up in a log, and what fails as a whole holds all of them.
        hidden = not problem["loc"] or problem["type"] == "missing" or any(word in name for word in _SECRET)
        value = "" if hidden else f" (it is {problem['input']!r})"
        print(f"{name}: {problem['msg']}{value}", file=sys.stderr)
    sys.exit(2)
