"""The learning rate warms up and decays whatever the length of the run."""

from __future__ import annotations

import pytest

from services.trainer.engine.schedule import WARMUP_START, learning_rate, peak_rate, warmup_steps


def rates(steps: int, batch_size: int = 8, scale: float = 1.0) -> list[float]:
    return [learning_rate(step, steps=steps, batch_size=batch_size, scale=scale) for step in range(steps)]


@pytest.mark.parametrize("steps", [20, 200, 3000, 8000])
def test_a_run_rises_to_the_peak_and_falls_to_almost_nothing(steps: int) -> None:
    curve = rates(steps)
    top = curve.index(max(curve))
    assert top == warmup_steps(steps) == steps // 10
    assert max(curve) == peak_rate(8)
    assert curve[0] == pytest.approx(peak_rate(8) * WARMUP_START)
    assert curve[: top + 1] == sorted(curve[: top + 1])
    assert curve[top:] == sorted(curve[top:], reverse=True)
    assert 0 < curve[-1] < 0.02 * peak_rate(8)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (2, 1), (5, 1), (15, 2), (8000, 800)])
def test_even_the_shortest_run_has_a_decay(steps: int, warmup: int) -> None:
    assert warmup_steps(steps) == warmup
    assert all(rate > 0 for rate in rates(steps))


def test_the_rate_follows_the_batch() -> None:
    assert peak_rate(32) == pytest.approx(4 * peak_rate(8))
    assert rates(100, 32) == pytest.approx([4 * rate for rate in rates(100, 8)])


def test_a_scale_multiplies_every_rate() -> None:
    assert rates(100, scale=0.1) == pytest.approx([rate / 10 for rate in rates(100)])
    assert rates(100, scale=1) == rates(100)


@pytest.mark.parametrize("scale", [0, -0.1, 1.5, float("nan"), float("inf")])
def test_a_scale_lowers_and_never_stops(scale: float) -> None:
    with pytest.raises(ValueError, match=f"learning_rate_scale must be above 0 and at most 1, not {scale}"):
        peak_rate(8, scale)


def test_nothing_is_learned_after_the_end() -> None:
    assert learning_rate(100, steps=100, batch_size=8) == 0.0
    assert learning_rate(10_000, steps=100, batch_size=8) == 0.0


def test_bad_figures_are_named() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, not 0"):
        peak_rate(0)
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        warmup_steps(0)
    with pytest.raises(ValueError, match="step must not be negative, not -1"):
        learning_rate(-1, steps=10, batch_size=8)
