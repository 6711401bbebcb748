"""Messages on the wire: golden samples of every type and version, tolerance of what is new, refusal of what can't be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract import events, wire
from shared.contract.errors import Reject
from shared.contract.events import (
    TRANSIENT,
    Command,
    DatasetDeleted,
    Fact,
    JobStop,
    Message,
    TrainerGone,
    TrainingCheckpointed,
    routing_key,
    upcast,
    wire_name,
)
from shared.contract.views import PredictionsView
from shared.contract.wire import Envelope, decode, encode

SAMPLES = sorted(Path(__file__).with_name("samples").glob("*.json"))
NEWEST: dict[str, type[Message]] = {wire_name(kind): kind for kind in get_args(Message)}


def envelope(body: Message) -> Envelope:
    return Envelope(id="m1", time=datetime(2026, 3, 14, tzinfo=UTC), source="test", team="demo", body=body)


def holds(written: Any, sample: Any) -> bool:
    """Whether `written` says all that `sample` says, in the same places."""
    if isinstance(sample, dict):
        return isinstance(written, dict) and all(
            name in written and holds(written[name], value) for name, value in sample.items()
        )
    if isinstance(sample, list):
        same_length = isinstance(written, list) and len(written) == len(sample)
        return same_length and all(holds(one, other) for one, other in zip(written, sample, strict=True))
    return bool(written == sample)


def without_nulls(value: Any) -> Any:
    """What a sender that doesn't know of optional fields would send."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
class TestSample:
    def test_is_read_whole_and_written_again_as_it_was(self, path: Path) -> None:
        data = path.read_bytes()
        read = decode(data)
        if path.stem in NEWEST:
            assert type(read.body) is NEWEST[path.stem]
            assert read.type == path.stem
            # A field that came later is added with its default; nothing that the sample says is changed or dropped.
            assert holds(json.loads(encode(read)), json.loads(data))
        else:
            assert read.type in NEWEST  # an old version, upcast
        assert decode(encode(read)) == read

    def test_fields_that_are_not_known_are_passed_over(self, path: Path) -> None:
        sample = json.loads(path.read_bytes())
        plain = decode(json.dumps(sample).encode())
        sample["shard"] = 7
        sample["body"]["colour"] = {"of": ["the", "future"]}
        assert decode(json.dumps(sample).encode()) == plain

    def test_fields_that_are_null_may_be_missing(self, path: Path) -> None:
        sample = json.loads(path.read_bytes())
        bare = without_nulls(sample)
        assert decode(json.dumps(bare).encode()) == decode(path.read_bytes())

    def test_times_carry_their_zone(self, path: Path) -> None:
        assert decode(path.read_bytes()).time.utcoffset() is not None

    def test_says_what_it_is_without_its_type_being_guessed(self, path: Path) -> None:
        sample = json.loads(path.read_bytes())
        assert sample["body"].pop("type") == path.stem
        with pytest.raises(Reject, match="type"):
            decode(json.dumps(sample).encode())


def test_every_message_has_a_sample() -> None:
    assert set(NEWEST) - {path.stem for path in SAMPLES} == set()


def test_every_sample_is_of_a_message_or_of_a_version_that_is_upcast() -> None:
    old = {wire_name(kind) for kind in events.UPCASTS}
    assert {path.stem for path in SAMPLES} - set(NEWEST) - old == set()


def test_wire_names_are_versioned_and_unique() -> None:
    assert len(NEWEST) == len(get_args(Message))
    for name, kind in NEWEST.items():
        noun, verb, version = name.split(".")
        assert version.startswith("v")
        assert int(version[1:]) >= 1
        assert routing_key(kind) == f"{noun}.{verb}"
        assert kind.__doc__


def test_facts_and_commands_are_all_messages() -> None:
    assert set(get_args(Fact)) | set(get_args(Command)) == set(get_args(Message))
    assert not set(get_args(Fact)) & set(get_args(Command))
    assert set(TRANSIENT) < set(get_args(Message))


def test_a_value_and_its_type_have_the_same_names() -> None:
    stop = JobStop(reason="user")
    assert wire_name(stop) == wire_name(JobStop) == "job.stop.v2"
    assert routing_key(stop) == "job.stop"


def test_metric_names_survive_with_their_dots_and_spaces() -> None:
    body = decode((Path(__file__).with_name("samples") / "training.checkpointed.v1.json").read_bytes()).body
    assert isinstance(body, TrainingCheckpointed)
    assert body.evaluation["DetectionBoxes_Precision/mAP@.50IOU"] == 0.6914
    assert body.evaluation["DetectionBoxes_Precision/mAP (small)"] == -1


def test_a_checkpoint_may_say_where_its_predictions_are() -> None:
    sample = json.loads((Path(__file__).with_name("samples") / "training.checkpointed.v1.json").read_bytes())
    old = decode(json.dumps(sample).encode()).body
    sample["body"]["predictions"] = {"prefix": "jobs/j1/predictions/00000400-a2", "pictures": "jobs/j1/pictures-a1"}
    new = decode(json.dumps(sample).encode()).body
    assert isinstance(old, TrainingCheckpointed)
    assert isinstance(new, TrainingCheckpointed)
    assert old.predictions is None
    assert new.predictions == PredictionsView(prefix="jobs/j1/predictions/00000400-a2", pictures="jobs/j1/pictures-a1")
    assert msgspec.structs.replace(new, predictions=None) == old


class OldDeleted(msgspec.Struct, frozen=True, tag="dataset.deleted.v0"):
    """A version that never was."""

    dataset: str


class OlderDeleted(msgspec.Struct, frozen=True, tag="dataset.deleted.v00"):
    """And one before it."""

    name: str


def test_old_versions_become_the_newest_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    upcasts = {
        OlderDeleted: lambda old: OldDeleted(old.name),
        OldDeleted: lambda old: DatasetDeleted(dataset_id=old.dataset),
    }
    monkeypatch.setattr(events, "UPCASTS", upcasts)
    assert upcast(OlderDeleted("d1")) == DatasetDeleted(dataset_id="d1")
    assert upcast(DatasetDeleted(dataset_id="d2")) == DatasetDeleted(dataset_id="d2")


def test_decode_upcasts_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "UPCASTS", {TrainerGone: lambda gone: DatasetDeleted(dataset_id=gone.trainer)})
    read = decode(encode(envelope(TrainerGone(trainer="t1"))))
    assert read == envelope(DatasetDeleted(dataset_id="t1"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"not json",
        b"[]",
        b"null",
        b'{"id": "\xff"}',
        b'{"id": 1}',
        b'{"id": "m", "time": "yesterday", "source": "s", "team": "t", "body": {"type": "trainer.gone.v1", "trainer": "x"}}',
        b'{"id": "m", "time": "2026-03-14T10:15:30Z", "source": "s", "team": "t", "body": {"type": "trainer.gone.v9"}}',
        b'{"id": "m", "time": "2026-03-14T10:15:30Z", "source": "s", "team": "t", "body": {"type": "trainer.gone.v1"}}',
        b'{"x": ' * 100_000,
    ],
    ids=lambda data: repr(data[:24]) + str(len(data)),
)
def test_what_cannot_be_read_is_rejected_with_the_reason(data: bytes) -> None:
    with pytest.raises(Reject, match=r"undecodable: .+"):
        decode(data)


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_be_rejected(data: bytes) -> None:
    with pytest.raises(Reject):
        decode(data)


@given(
    identifier=st.text(max_size=40),
    team=st.text(max_size=20),
    attempt=st.none() | st.integers(min_value=0, max_value=2**31),
    trainer=st.text(max_size=20),
    time=st.datetimes(timezones=st.just(UTC)),
)
def test_what_is_encoded_is_decoded(
    identifier: str, team: str, attempt: int | None, trainer: str, time: datetime
) -> None:
    sent = Envelope(id=identifier, time=time, source="s", team=team, body=TrainerGone(trainer=trainer), attempt=attempt)
    assert wire.decode(wire.encode(sent)) == sent
