"""What a trainer's settings refuse, and how they say so."""

from __future__ import annotations

import pytest

from services.trainer.settings import TrainerSettings
from shared.runtime.settings import load


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("", {}),
        ("pool=lab", {"pool": "lab"}),
        ("pool=lab,room=3", {"pool": "lab", "room": "3"}),
        (" pool = lab , gpu.kind=rtx_4090-ti ", {"pool": "lab", "gpu.kind": "rtx_4090-ti"}),
        (f"{'k' * 40}={'v' * 40}", {"k" * 40: "v" * 40}),
        (",".join(f"k{i}=v" for i in range(16)), {f"k{i}": "v" for i in range(16)}),
    ],
)
def test_labels(monkeypatch: pytest.MonkeyPatch, text: str, labels: dict[str, str]) -> None:
    monkeypatch.setenv("TRAINER_LABELS", text)
    assert load(TrainerSettings).trainer_labels == labels


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("lab", "'lab' is no label"),
        ("pool=", "'pool=' is no label"),
        ("=lab", "'=lab' is no label"),
        ("pool=lab,", "'' is no label"),
        ("Pool=lab", "'Pool=lab' is no label"),
        ("pool=the lab", "'pool=the lab' is no label"),
        ("pool=a=b", "'pool=a=b' is no label"),
        ("pool=lab,pool=attic", "'pool=attic' is no label"),
        (f"{'k' * 41}=v", f"'{'k' * 41}=v' is no label"),
        (f"k={'v' * 41}", f"'k={'v' * 41}' is no label"),
        (",".join(f"k{i}=v" for i in range(17)), "there are 17"),
    ],
)
def test_bad_labels_are_named_with_the_rule(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, fault: str
) -> None:
    monkeypatch.setenv("TRAINER_LABELS", text)
    with pytest.raises(SystemExit):
        load(TrainerSettings)
    line = capsys.readouterr().err
    assert line.startswith("TRAINER_LABELS: ")
    assert f"{fault}; labels are written key=value,key=value" in line
    assert "at most 16" in line
    assert "1 to 40 characters" in line
    assert f"(it is {text!r})" in line


def test_labels_may_be_given_as_what_they_are() -> None:
    assert TrainerSettings.model_validate({"trainer_labels": {"pool": "lab"}}).trainer_labels == {"pool": "lab"}


def test_export_formats(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(TrainerSettings).export_formats == ["float32", "float16"]
    monkeypatch.setenv("EXPORT_FORMATS", " float16")
    assert load(TrainerSettings).export_formats == ["float16"]
    monkeypatch.setenv("EXPORT_FORMATS", "float32,int8")
    with pytest.raises(SystemExit):
        load(TrainerSettings)
    line = capsys.readouterr().err
    assert line.startswith("EXPORT_FORMATS")
    assert "'float32' or 'float16' (it is 'int8')" in line


@pytest.mark.parametrize(("name", "value"), [("STALL_SECONDS", "0"), ("PHASE_SECONDS", "-1")])
def test_limits_of_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        load(TrainerSettings)
    assert capsys.readouterr().err.startswith(f"{name}: ")
