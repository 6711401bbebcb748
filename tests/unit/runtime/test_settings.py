"""Settings from the environment: what is wrong is named, and what is secret never is."""

from __future__ import annotations

import pytest
from pydantic import Field, model_validator

from shared.runtime.settings import CommonSettings, ServiceSettings, load

SECRET = "a-secret-of-more-than-32-characters"


class TrainerSettings(CommonSettings):
    """A service's own, one of them a list and one rule over several."""

    slots: int = Field(1, ge=1, le=16)
    labels: list[str] = Field(default_factory=list)
    session_token: str = Field("", max_length=3)

    @model_validator(mode="after")
    def _check(self) -> TrainerSettings:
        if self.slots > 8 and self.host == "127.0.0.1":
            raise ValueError("more than 8 slots need a HOST of their own")
        return self


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINYARD_SECRET", SECRET)


def refusal(capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        load(TrainerSettings)
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert SECRET not in told.err
    return told.err.splitlines()


def test_names_are_the_fields_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8099")
    monkeypatch.setenv("MONGO_PREFIX", "t1_")
    monkeypatch.setenv("SLOTS", "4")
    settings = load(TrainerSettings)
    assert (settings.port, settings.mongo_prefix, settings.slots) == (8099, "t1_", 4)
    assert (settings.host, settings.drain_seconds, settings.log_format) == ("127.0.0.1", 10.0, "auto")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PORT", "70000", "PORT: Input should be less than or equal to 65535 (it is '70000')"),
        ("PORT", "http", "PORT: Input should be a valid integer, unable to parse string as an integer (it is 'http')"),
        ("MONGO_PREFIX", "a b", "MONGO_PREFIX: String should match pattern '^[a-zA-Z0-9_]{0,40}$' (it is 'a b')"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL: Input should be 'debug', 'info', 'warning' or 'error' (it is 'loud')"),
        ("SLOTS", "0", "SLOTS: Input should be greater than or equal to 1 (it is '0')"),
    ],
)
def test_a_wrong_value_is_named_with_its_limit(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert refusal(capsys) == [told]


def test_every_wrong_value_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "-1")
    monkeypatch.setenv("SLOTS", "99")
    assert [line.partition(":")[0] for line in refusal(capsys)] == ["PORT", "SLOTS"]


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TRAINYARD_SECRET", "too-short")
    monkeypatch.setenv("SESSION_TOKEN", "let-me-in")
    lines = refusal(capsys)
    assert lines == [
        "TRAINYARD_SECRET: String should have at least 32 characters",
        "SESSION_TOKEN: String should have at most 3 characters",
    ]


def test_a_missing_secret_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("TRAINYARD_SECRET")
    assert refusal(capsys) == ["TRAINYARD_SECRET: Field required"]


def test_a_service_without_people_needs_neither_secret_nor_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRAINYARD_SECRET")
    assert not {"trainyard_secret", "mongo_url"} & set(load(ServiceSettings).model_dump())


def test_a_rule_over_several_does_not_show_them_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLOTS", "9")
    assert refusal(capsys) == ["(settings): Value error, more than 8 slots need a HOST of their own"]


def test_a_list_that_is_not_json_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LABELS", "cube, pixel")
    (line,) = refusal(capsys)
    assert '"labels"' in line
