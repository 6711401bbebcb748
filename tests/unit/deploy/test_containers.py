"""Every path, module, port, variable and command that the compose file and the Dockerfile name exists in the tree."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from pydantic_settings import BaseSettings

from deploy.local import gateway

CHECKOUT = Path(__file__).parents[3]
DOCKERFILE = (CHECKOUT / "deploy/docker/Dockerfile").read_text().replace("\\\n", " ")
COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}
SERVICES = ("dataset", "scheduler", "status", "trainer")
# What other software than ours reads.
OF_LIBRARIES = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"}
# Given a default by the Dockerfile and the compose file, as a volume's place is theirs to say.
BY_IMAGE = {"ARTIFACTS_URL"}
PRETRAINED = "/var/lib/trainyard/pretrained"
TEMPLATE_NAMES = set(re.findall(r"\$\{(\w+)\}", gateway.TEMPLATE.read_text()))


def settings_of(service: str) -> type[BaseSettings]:
    """A service's settings."""
    module = importlib.import_module(f"services.{service}.settings")
    (own,) = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, BaseSettings) and kind.__module__ == module.__name__
    ]
    return own


def variables_of(service: str) -> set[str]:
    """The environment variables that a service's settings read."""
    return {name.upper() for name in settings_of(service).model_fields}


def stages() -> dict[str, str]:
    """The Dockerfile's stages: name → instructions."""
    parts = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def port_of(stage: str) -> int:
    (port,) = re.findall(r"^EXPOSE (\d+)$", stages()[stage], flags=re.MULTILINE)
    return int(port)


def test_every_service_is_in_the_compose_file_with_a_target_of_the_dockerfile() -> None:
    assert set(OURS) == {*SERVICES, "gateway"}
    for service in OURS.values():
        assert service["build"]["target"] in stages()
        assert (CHECKOUT / service["build"]["dockerfile"]).is_file()
        assert (CHECKOUT / service["build"]["context"]).resolve() == CHECKOUT


@pytest.mark.parametrize("service", SERVICES)
def test_commands_name_modules_that_can_be_run_and_are_in_the_image(service: str) -> None:
    python, flag, module = OURS[service]["command"]
    assert (python, flag, module) == ("python", "-m", f"services.{service}")
    assert (CHECKOUT / module.replace(".", "/") / "__main__.py").is_file()
    assert f"COPY services/{service}/" in stages()[OURS[service]["build"]["target"]]


@pytest.mark.parametrize("service", SERVICES)
def test_variables_are_ones_that_the_service_reads(service: str) -> None:
    ours = {name for name in OURS[service]["environment"] if name not in OF_LIBRARIES}
    shared = set() if service == "trainer" else {"DATASET_URL"}  # in one block for three; the scheduler reads it
    assert ours - shared <= variables_of(service)
    assert shared <= variables_of("scheduler")


@pytest.mark.parametrize("service", SERVICES)
def test_what_may_be_set_has_the_service_s_own_default(service: str) -> None:
    fields = settings_of(service).model_fields
    for name, value in OURS[service]["environment"].items():
        if may := re.fullmatch(rf"\$\{{{name}:-(.*)}}", str(value)):
            default = fields[name.lower()].default
            shown = str(default).lower() if isinstance(default, bool) else str(default)
            assert may[1] == ("" if default == {} else shown) or name in BY_IMAGE


def test_every_usual_setting_can_be_given() -> None:
    usual = {
        "scheduler": {
            *("SECURE_COOKIE", "ALLOWED_ORIGINS", "TEAM_MINUTES", "MIN_STEPS", "MAX_STEPS", "CHECKPOINT_EVERY"),
            *(
                "MAX_QUEUED",
                "MAX_TEAM_JOBS",
                "MAX_WAIT_SECONDS",
                "EXPECT_TRAINERS_SECONDS",
                "EXPECTED_ACCELERATOR",
                "MAX_MINUTES",
                "USAGE_HALF_LIFE_HOURS",
                "LAB_HOURS",
                "LAB_TIMEZONE",
            ),
        },
        "trainer": {"ALLOW_DOWNLOAD", "PRETRAINED_DIR", "TRAINER_LABELS"},
        "dataset": {"ALLOWED_ORIGINS"},
        "status": {"ALLOWED_ORIGINS"},
    }
    for service, names in usual.items():
        for name in names:
            assert re.match(rf"\$\{{{name}:[-+]", OURS[service]["environment"][name]), (service, name)


def test_pretrained_weights_are_mounted_where_the_trainer_looks_for_them() -> None:
    (mount,) = [volume for volume in OURS["trainer"]["volumes"] if "PRETRAINED_DIR" in volume]
    assert mount == f"${{PRETRAINED_DIR:-no-pretrained}}:{PRETRAINED}:ro"
    # Unless a folder is given, the variable is empty, which counts as not set: the trainer downloads as it likes.
    assert OURS["trainer"]["environment"]["PRETRAINED_DIR"] == f"${{PRETRAINED_DIR:+{PRETRAINED}}}"


def test_variables_of_the_images_are_ones_that_the_services_or_the_template_read() -> None:
    of_python = {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PATH"}
    of_nginx_image = {"NGINX_ENVSUBST_OUTPUT_DIR", "NGINX_ENVSUBST_FILTER"}
    known = of_python | of_nginx_image | TEMPLATE_NAMES | set.union(*map(variables_of, SERVICES))
    named = {
        name
        for line in re.findall(r"^ENV (.+)$", DOCKERFILE, flags=re.MULTILINE)
        for name in re.findall(r"(?:^|\s)([A-Z_]+)=", line)
    }
    assert named <= known


def test_the_gateway_s_image_gives_every_name_of_the_template_a_value() -> None:
    named = set(re.findall(r"(?:^|\s)(TRAINYARD_[A-Z_]+)=", stages()["gateway"]))
    assert named == TEMPLATE_NAMES
    assert set(OURS["gateway"]["environment"]) <= TEMPLATE_NAMES


def test_copied_paths_exist_and_are_not_ignored() -> None:
    ignored = (CHECKOUT / ".dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, flags=re.MULTILINE):
        for path in line.split()[:-1]:
            assert (CHECKOUT / path).exists(), path
            assert any(Path(path).match(pattern) or path.startswith(pattern) for pattern in let_in), path


def test_stages_copied_from_exist() -> None:
    for stage in re.findall(r"COPY --from=(\S+)", DOCKERFILE):
        assert stage in stages()


def test_addresses_between_containers_name_services_and_their_ports() -> None:
    text = DOCKERFILE + (CHECKOUT / "docker-compose.yml").read_text()
    of_others = {("rabbitmq", 5672), ("mongo", 27017), ("localhost", 8080)}
    for host, port in re.findall(r"(?:@|//)([a-z]+):(\d+)", text):
        target = OURS[host]["build"]["target"] if host in OURS else None
        expected = port_of("runtime" if target in ("services", "trainer") else target) if target else None
        assert (host, int(port)) in of_others or int(port) == expected, (host, port)
    (published,) = OURS["gateway"]["ports"]
    assert published.endswith(f":{port_of('gateway')}")
    assert f"TRAINYARD_LISTEN={port_of('gateway')}" in stages()["gateway"]


def test_scripts_in_health_checks_are_in_the_image() -> None:
    for service in SERVICES:
        script = Path(OURS[service]["healthcheck"]["test"][-1])
        copied = re.search(
            rf"^COPY (.*deploy/docker/{script.name}.*) {script.parent}/$", stages()["runtime"], re.MULTILINE
        )
        assert copied, script


def test_every_service_has_a_health_check_and_an_ordinary_user() -> None:
    for name, service in COMPOSE["services"].items():
        assert "healthcheck" in service or name == "mongo-init", name
        assert "user" in service or "build" in service, name
    for stage in ("runtime", "gateway"):
        assert re.search(r"^USER (?!0|root)\S+$", stages()[stage], re.MULTILINE)


def test_waits_are_for_services_with_a_health_check() -> None:
    for service in COMPOSE["services"].values():
        for other, how in service.get("depends_on", {}).items():
            healthy = how["condition"] == "service_healthy"
            assert other in COMPOSE["services"]
            assert not healthy or "healthcheck" in COMPOSE["services"][other]


def test_trainers_can_be_many() -> None:
    assert not {"container_name", "hostname", "ports"} & set(OURS["trainer"])


def test_a_trainer_is_told_the_broker_and_the_artifact_store_alone() -> None:
    assert not {"TRAINYARD_SECRET", "MONGO_URL"} & set(OURS["trainer"]["environment"])
    assert set(OURS["trainer"]["depends_on"]) == {"rabbitmq"}


def test_volumes_are_declared() -> None:
    named = {
        re.sub(r"\$\{\w+:-([\w-]+)}", r"\1", volume).split(":")[0]  # where a variable isn't set, its default
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", [])
        if not volume.startswith("/")
    }
    assert named == set(COMPOSE["volumes"])


def test_the_secret_must_be_given() -> None:
    assert "${TRAINYARD_SECRET:?" in (CHECKOUT / "docker-compose.yml").read_text()
