"""The probe for GPUs, with the TensorFlow that is installed."""

from __future__ import annotations

import os

from structlog.testing import capture_logs

from services.trainer.machine import Gpu, count_usable


def test_it_answers_and_a_gpu_that_is_not_there_is_none() -> None:
    with capture_logs() as logged:
        assert count_usable([Gpu(99, "none such", 0)], os.environ) == 0
    assert logged == []  # it did answer
