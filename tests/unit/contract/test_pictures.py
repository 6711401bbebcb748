"""The files that pictures and predictions lie in: the same bytes for the same content, and no surprise from a damaged one."""

from __future__ import annotations

import gzip

import msgspec
import pytest

from shared.contract.pictures import FoundBox, FoundBoxes, Pictures, Predictions, jpeg_name, pack, unpack

BOX = FoundBox(label="Ball ☂", score=0.5, ymin=0.1, xmin=0.2, ymax=0.3, xmax=0.4)
PREDICTIONS = Predictions(pictures=[FoundBoxes(number=0, boxes=[BOX]), FoundBoxes(number=1, boxes=[])])


def test_what_is_packed_is_unpacked() -> None:
    packed = pack(PREDICTIONS)
    assert unpack(packed, Predictions) == PREDICTIONS
    assert pack(PREDICTIONS) == packed
    assert msgspec.json.decode(gzip.decompress(packed))["pictures"][0]["boxes"][0]["label"] == "Ball ☂"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cut off"),
        (b"not gzip", "no gzip file"),
        (pack(PREDICTIONS)[:-9], "cut off"),
        (gzip.compress(b" " * (16 << 20) + b"{}"), "more than 16777216 bytes"),
        (gzip.compress(b"{}"), "missing required field `pictures`"),
        (gzip.compress(b"{"), "truncated"),
    ],
    # A compressed text carries the time: two runs side by side must give it one name.
    ids=["empty", "not packed", "half", "too large", "no field", "no JSON"],
)
def test_what_cannot_be_read_is_a_value_error(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        unpack(data, Pictures)


def test_jpegs_sort_by_number() -> None:
    assert [jpeg_name(number) for number in (0, 7, 99)] == ["000.jpg", "007.jpg", "099.jpg"]
