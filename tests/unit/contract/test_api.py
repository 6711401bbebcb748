"""The HTTP contract: requests are read strictly, answers leniently; what it encodes is what clients are promised."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import msgspec
import pytest

from shared.contract import api, stream, views
from shared.contract.api.errors import ErrorAnswer, ErrorBody
from shared.contract.api.jobs import JobRequest
from shared.contract.starting_models import DEFAULT_STARTING_MODEL

MODULES = [importlib.import_module(f"{api.__name__}.{found.name}") for found in pkgutil.iter_modules(api.__path__)]
STRUCTS: list[type[msgspec.Struct]] = [
    value
    for module in (*MODULES, views, stream)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == module.__name__
]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_requests_alone_forbid_unknown_fields(struct: type[msgspec.Struct]) -> None:
    assert struct.__struct_config__.forbid_unknown_fields == struct.__name__.endswith("Request")
    assert struct.__struct_config__.frozen


def test_a_misspelled_field_is_told() -> None:
    asked = {"dataset_ids": ["d"], "description": "x"}
    assert msgspec.convert(asked, JobRequest).starting_model == DEFAULT_STARTING_MODEL
    with pytest.raises(msgspec.ValidationError, match="unknown field `step`"):
        msgspec.convert({**asked, "step": 300}, JobRequest)


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (ErrorBody(code="c", message="m"), {"code": "c", "message": "m", "field": None}),
        (
            ErrorBody(code="c", message="m", field="f", details={"limit": 3}),
            {"code": "c", "message": "m", "field": "f", "details": {"limit": 3}},
        ),
    ],
)
def test_an_error_has_details_only_where_there_are_any(body: ErrorBody, sent: dict[str, Any]) -> None:
    encoded = msgspec.json.encode(ErrorAnswer(error=body))
    assert msgspec.json.decode(encoded) == {"error": sent}
    assert msgspec.json.decode(encoded, type=ErrorAnswer).error == body
