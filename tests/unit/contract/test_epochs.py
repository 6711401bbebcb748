"""Steps, epochs and batches: ftc-ml's worked example, and what must hold for any numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.epochs import (
    STEP_QUANTUM,
    epochs_of,
    fitting_batch_size,
    recommended_steps,
    steps_for,
    steps_per_epoch,
)

COUNTS = st.integers(min_value=1, max_value=1_000_000)
BATCHES = st.integers(min_value=1, max_value=1024)


def test_the_manual_s_worked_example() -> None:
    assert steps_per_epoch(1300, 32) == 41
    assert steps_for(100, 1300, 32) == 4063
    assert recommended_steps(1300, 32, lowest=200, highest=8000) == 4100
    assert epochs_of(4100, 1300, 32) == 100


@pytest.mark.parametrize(
    ("frames", "batch", "steps", "epochs"), [(1, 1, 0, 0), (8, 8, 1, 1), (9, 8, 1, 0), (9, 8, 2, 1), (160, 8, 200, 10)]
)
def test_epochs_are_whole_ones(frames: int, batch: int, steps: int, epochs: int) -> None:
    assert epochs_of(steps, frames, batch) == epochs


@pytest.mark.parametrize(("frames", "expected"), [(10, 200), (160, 2000), (161, 2100), (100_000, 8000)])
def test_recommended_steps_keep_the_installation_s_bounds(frames: int, expected: int) -> None:
    assert recommended_steps(frames, 8, lowest=200, highest=8000) == expected


@pytest.mark.parametrize(
    ("preferred", "frames", "expected"), [(32, 32, 32), (32, 31, 16), (32, 1, 1), (3, 2, 1), (1, 1, 1), (8, 1300, 8)]
)
def test_a_batch_is_halved_until_it_fits(preferred: int, frames: int, expected: int) -> None:
    assert fitting_batch_size(preferred, frames) == expected


@given(frames=COUNTS, batch=BATCHES)
def test_an_epoch_sees_every_picture_and_one_step_less_does_not(frames: int, batch: int) -> None:
    steps = steps_per_epoch(frames, batch)
    assert steps * batch >= frames > (steps - 1) * batch


@given(frames=COUNTS, batch=BATCHES, epochs=st.integers(min_value=1, max_value=1000))
def test_steps_for_is_the_fewest_that_perform_the_epochs(frames: int, batch: int, epochs: int) -> None:
    steps = steps_for(epochs, frames, batch)
    assert epochs_of(steps, frames, batch) >= epochs
    assert epochs_of(steps - 1, frames, batch) < epochs


@given(frames=COUNTS, batch=BATCHES, steps=st.integers(min_value=0, max_value=100_000))
def test_epochs_never_count_a_picture_that_was_not_seen(frames: int, batch: int, steps: int) -> None:
    assert epochs_of(steps, frames, batch) * frames <= steps * batch
    assert epochs_of(steps + 1, frames, batch) >= epochs_of(steps, frames, batch)


@given(preferred=BATCHES, frames=COUNTS)
def test_a_fitting_batch_is_the_preferred_one_halved_as_little_as_possible(preferred: int, frames: int) -> None:
    batch = fitting_batch_size(preferred, frames)
    assert 1 <= batch <= preferred
    assert batch <= frames
    halvings = [preferred >> n for n in range(preferred.bit_length())]
    assert batch == next(size for size in halvings if size <= frames)


@given(frames=COUNTS, batch=BATCHES)
def test_recommended_steps_are_a_multiple_that_reaches_100_epochs(frames: int, batch: int) -> None:
    steps = recommended_steps(frames, batch, lowest=0, highest=10**12)
    assert steps % STEP_QUANTUM == 0
    assert steps - STEP_QUANTUM < steps_for(100, frames, batch) <= steps


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: steps_per_epoch(0, 8), "frames must be at least 1, not 0"),
        (lambda: steps_per_epoch(8, 0), "batch_size must be at least 1, not 0"),
        (lambda: fitting_batch_size(0, 8), "batch_size must be at least 1, not 0"),
        (lambda: fitting_batch_size(8, 0), "frames must be at least 1, not 0"),
        (lambda: epochs_of(-1, 8, 8), "steps must be at least 0, not -1"),
        (lambda: epochs_of(1, -3, 8), "frames must be at least 1, not -3"),
        (lambda: steps_for(0, 8, 8), "epochs must be at least 1, not 0"),
    ],
)
def test_impossible_numbers_are_named(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()
