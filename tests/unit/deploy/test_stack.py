"""What the local stack runs, with which environment, for which settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from honcho.environ import parse_procfile

from deploy.local.settings import Ports, read_settings
from deploy.local.stack import PROCFILE, START_ORDER, STOP_ORDER, Credentials, Program, addresses, programs

PORTS = Ports(20000)
CREDENTIALS = Credentials(secret="s" * 40, page_token="token")


def build(tmp_path: Path, **environ: str) -> dict[str, Program]:
    return {program.name: program for program in programs(read_settings(tmp_path, environ), PORTS, CREDENTIALS)}


def test_every_line_of_the_procfile_has_a_place_in_both_orders() -> None:
    kinds = set(parse_procfile(PROCFILE.read_text()).processes)
    assert (
        kinds == {kind for stage in START_ORDER for kind in stage} == {kind for stage in STOP_ORDER for kind in stage}
    )


def test_a_trainer_each_with_a_name_a_port_and_a_folder_of_its_own(tmp_path: Path) -> None:
    trainers = [program for program in build(tmp_path, TRAINERS="3").values() if program.kind == "trainer"]
    assert [trainer.name for trainer in trainers] == ["trainer-1", "trainer-2", "trainer-3"]
    for own in ("TRAINER_NAME", "PORT", "WORK_DIR"):
        assert len({trainer.environment[own] for trainer in trainers}) == 3


@pytest.mark.parametrize(
    ("given", "left_out"),
    [
        ({"RABBITMQ_URL": "amqp://u:p@broker/"}, {"epmd", "broker"}),
        ({"MONGO_URL": "mongodb://store/"}, {"store"}),
        ({"ARTIFACTS_URL": "s3://bucket/x"}, set()),
    ],
)
def test_a_part_whose_address_is_given_is_not_started(
    tmp_path: Path, given: dict[str, str], left_out: set[str]
) -> None:
    built = build(tmp_path, **given)
    assert set(build(tmp_path)) - set(built) == left_out
    ((name, address),) = given.items()
    assert built["scheduler"].environment[name] == address


def test_services_are_told_where_everything_is_and_listen_on_loopback(tmp_path: Path) -> None:
    built = build(tmp_path, MIN_STEPS="20")
    scheduler = built["scheduler"].environment
    assert scheduler["HOST"] == "127.0.0.1"
    assert scheduler["DATASET_URL"] == f"http://127.0.0.1:{built['dataset'].environment['PORT']}"
    assert scheduler["RABBITMQ_URL"].startswith("amqp://guest:guest@127.0.0.1:")
    assert scheduler["ARTIFACTS_URL"] == (tmp_path / ".trainyard" / "artifacts").as_uri()
    assert scheduler["MIN_STEPS"] == "20"
    assert scheduler["TRAINYARD_SECRET"] == CREDENTIALS.secret
    assert built["dataset"].environment["IMPORT_DIR"] == str(tmp_path / ".trainyard" / "imports")


def test_only_the_gateway_knows_the_page_s_token(tmp_path: Path) -> None:
    knowing = [name for name, program in build(tmp_path).items() if "GATEWAY_TOKEN" in program.environment]
    assert knowing == ["gateway"]


def test_a_trainer_is_told_the_broker_and_the_artifact_store_alone(tmp_path: Path) -> None:
    trainer = build(tmp_path, TRAINYARD_SECRET="t" * 40, MONGO_URL="mongodb://store/")["trainer-1"].environment
    assert {"RABBITMQ_URL", "ARTIFACTS_URL"} <= set(trainer)
    assert not {"TRAINYARD_SECRET", "MONGO_URL"} & set(trainer)


def test_a_folder_with_blanks_is_a_good_artifact_address(tmp_path: Path) -> None:
    settings = read_settings(tmp_path / "two words", {})
    assert "two%20words" in addresses(settings, PORTS)["ARTIFACTS_URL"]
