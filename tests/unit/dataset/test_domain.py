"""Names, refusals and which datasets go together."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.dataset.domain import Dataset, UploadRequest, checked_name, compatibility, in_use
from services.dataset.picture_http import seen_by
from shared.contract.api.datasets import Claim, ImportReport
from shared.contract.errors import UserError
from shared.contract.views import DatasetView, LabelCount
from shared.runtime.auth import Principal, Role

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def view(name: str, *labels: str) -> DatasetView:
    return DatasetView(
        id=name.lower(), team="t", name=name, created_at=NOW, prefix="p", bytes=1,
        labels=[LabelCount(name=label, train=1, eval=1) for label in labels],
        train_frames=1, eval_frames=1, train_negatives=0, eval_negatives=0,
    )  # fmt: skip


def report() -> ImportReport:
    return ImportReport(
        read={"pictures": 1}, annotations=1, boxes=1, ignored=0, skipped=[], skipped_total=0, skipped_by_code={},
        warnings=[], oddities=[], look_alike_groups=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "name"), [("a", "a"), (" Home\t field ", "Home field"), ("x" * 60, "x" * 60), ("Bälle", "Bälle")]
)
def test_names(given: str, name: str) -> None:
    assert checked_name(given) == name


@pytest.mark.parametrize("given", ["", "  ", "x" * 61, "a\0b", "a\u202eb"])
def test_bad_names(given: str) -> None:
    with pytest.raises(UserError) as caught:
        checked_name(given)
    assert (caught.value.code, caught.value.field) == ("bad_name", "name")
    assert "60" in caught.value.message


def test_who_blocks_a_deletion_is_named() -> None:
    claims = [Claim(job_id=str(n), description=f"Model {n}", claimed_at=NOW) for n in range(2)]
    one = in_use(Dataset(view=view("Field"), report=report(), claims=claims[:1]))
    two = in_use(Dataset(view=view("Field"), report=report(), claims=claims))
    assert "“Field” can't be deleted while a model uses it: “Model 0”" in one.message
    assert "2 models use it: “Model 0”, “Model 1”" in two.message
    assert two.status == 409
    assert two.details == {
        "models": [{"job_id": "0", "description": "Model 0"}, {"job_id": "1", "description": "Model 1"}]
    }


def test_identical_labels_go_together_in_any_order() -> None:
    result = compatibility([view("A", "ball", "cube"), view("B", "cube", "ball")])
    assert result.compatible
    assert result.labels == ["ball", "cube"]
    assert all(not (d.missing or d.extra or d.hints) for d in result.differences)


def test_what_most_have_is_meant() -> None:
    result = compatibility([view("A", "Ball"), view("B", "ball"), view("C", "ball")])
    assert not result.compatible
    assert result.labels == ["ball"]
    assert [(d.missing, d.extra) for d in result.differences] == [(["ball"], ["Ball"]), ([], []), ([], [])]


@pytest.mark.parametrize(
    ("wrong", "right", "hint"),
    [
        ("Ball", "ball", "“Ball” and “ball” differ only in capitals, spaces or punctuation."),
        ("red_cube", "Red Cube", "“red_cube” and “Red Cube” differ only in capitals, spaces or punctuation."),
        ("cubee", "Cube", "“cubee” may be a misspelling of “Cube”."),
        ("cubes", "Cube", "“cubes” and “Cube” may be singular and plural of one label."),
        ("duck", "cube", None),
    ],
)
def test_near_misses(wrong: str, right: str, hint: str | None) -> None:
    result = compatibility([view("A", right), view("B", wrong)])
    assert result.differences[1].hints == ([] if hint is None else [hint])


def test_each_difference_in_a_sentence() -> None:
    result = compatibility(
        [view("A", "a", "b"), view("B", "a", "b"), view("C", "a"), view("D", "a", "b", "c", "d"), view("E", "x")]
    )
    assert [difference.message for difference in result.differences] == [
        "",
        "",
        "“C” lacks “b”.",
        "“D” has in addition “c”, “d”.",
        "“E” lacks “a”, “b” and has in addition “x”.",
    ]


def test_requests_differ_by_what_they_ask() -> None:
    one = UploadRequest(name="a", eval_percent=20, seed=0, unlabelled="skip")
    assert one.fingerprint() == UploadRequest(name="a", eval_percent=20, seed=0, unlabelled="skip").fingerprint()
    assert one.fingerprint() != UploadRequest(name="a", eval_percent=20, seed=1, unlabelled="skip").fingerprint()


@pytest.mark.parametrize(("role", "team"), [("viewer", "red"), ("mentor", "red"), ("service", "red"), ("admin", None)])
def test_only_an_operator_looks_at_all_teams_datasets(role: Role, team: str | None) -> None:
    assert seen_by(Principal(team="red", role=role, name="Ada")) == team
