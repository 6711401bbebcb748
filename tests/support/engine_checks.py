"""What engine tests ask of TensorFlow: called in a process of its own, answers are plain values.

Everything of TensorFlow is imported inside the functions, as pytest's own process imports this module for their names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from services.trainer.engine.control import RunError, StopSignal
from services.trainer.protocol import FromChild, RunSpec, RunStarted, StopReason

STARTING_MODEL = "ssd_mobilenet_v2_320x320"


def sizes_of_one_label_model() -> dict[str, int]:
    """Anchors, parameters and the sides of the feature maps, with one label."""
    from services.trainer.engine.models.registry import build_model, network_of

    network = network_of(STARTING_MODEL)
    model = build_model(network, 2)
    anchors = network.anchor_boxes((network.image_size, network.image_size))
    sides = {f"map_{level}": int(shape[1]) for level, shape in model.decoder.output_specs.items()}
    return sides | {
        "anchors": sum(int(boxes.shape[0] * boxes.shape[1] * boxes.shape[2]) // 4 for boxes in anchors.values()),
        "parameters": int(model.count_params()),
    }


def rates_of_optimizer(steps: int, batch_size: int) -> list[float]:
    """The optimizer's own learning rate at each step and one beyond the end."""
    from services.trainer.engine.optimizer import TableSchedule, build_optimizer

    schedule = build_optimizer(steps, batch_size).learning_rate
    again = TableSchedule.from_config(schedule.get_config())
    rates = [float(schedule(step)) for step in range(steps + 1)]
    assert rates == [float(again(step)) for step in range(steps + 1)]
    return rates


def run_here(spec: RunSpec, stop_at_start: StopReason | None = None) -> tuple[list[FromChild], tuple[str, str] | None]:
    """All messages of a run in this process, asked to stop once it has started; and the failure's (code, message)."""
    from services.trainer.engine.failures import explain
    from services.trainer.engine.run import run

    messages: list[FromChild] = []
    stop = StopSignal()

    def report(message: FromChild) -> None:
        messages.append(message)
        if isinstance(message, RunStarted) and stop_at_start is not None:
            stop.ask(stop_at_start)

    try:
        run(spec, report, stop)
    except Exception as error:  # noqa: BLE001 - as the child does it
        return messages, explain(error, spec)
    return messages, None


def save_poisoned_weights(spec: RunSpec, folder: Path) -> None:
    """A parent model's checkpoint with a weight that is not a number."""
    import tensorflow as tf

    from services.trainer.engine.checkpoint import PREFIX
    from services.trainer.engine.models.registry import build_model, network_of

    model = build_model(network_of(spec.starting_model), len(spec.labels) + 1)
    layer = model.backbone.get_layer("Conv_1")
    layer.set_weights([np.full_like(layer.get_weights()[0], np.nan)])
    tf.train.Checkpoint(**model.checkpoint_items).write(str(folder / PREFIX))


def checkpoint_errors(spec: RunSpec, good: Path, folder: Path) -> dict[str, str]:
    """The messages for checkpoints that can't be used."""
    from services.trainer.engine import checkpoint
    from services.trainer.engine.prepare import build_trainer

    trainer = build_trainer(spec, lambda: None)
    folder.mkdir()
    for file in good.iterdir():
        content = file.read_bytes()
        (folder / file.name).write_bytes(content if file.name.endswith("index") else content[: len(content) // 2])
    attempts: dict[str, Callable[[], None]] = {
        "missing": lambda: checkpoint.restore(trainer, folder / "nowhere", 6),
        "cut": lambda: checkpoint.restore(trainer, folder, 6),
        "other step": lambda: checkpoint.restore(trainer, good, 7),
        "missing parent": lambda: checkpoint.warm_start(trainer, folder / "nowhere"),
    }
    found = {}
    for name, attempt in attempts.items():
        try:
            attempt()
        except RunError as error:
            found[name] = f"{error.code}: {error.message}"
    return found


def explain_error(kind: str, spec: RunSpec) -> tuple[str, str]:
    """What the user is told about an exception of `kind`."""
    import tensorflow as tf

    from services.trainer.engine.failures import explain

    errors: dict[str, BaseException] = {
        "memory": MemoryError(),
        "exhausted": tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
        "operation": tf.errors.InvalidArgumentError(None, None, "something"),
        "other": KeyError("x"),
        "run": RunError("nan_loss", "As it is."),
    }
    return explain(errors[kind], spec)


def unknown_names() -> list[str]:
    """The errors for a starting model and an export format that nobody knows."""
    from services.trainer.engine.export import export
    from services.trainer.engine.models.registry import network_of
    from services.trainer.engine.models.ssd import anchor_boxes

    found = []
    for attempt in (
        lambda: network_of("yolo"),
        lambda: export(None, network_of(STARTING_MODEL), ["a"], Path("/nonexistent"), ["int3"], name="x"),
        lambda: anchor_boxes((300, 200)),
    ):
        try:
            attempt()
        except (RunError, ValueError) as error:
            found.append(str(error))
    return found


def compare_with_other_models(path: Path, wanted: str, spec: RunSpec) -> dict[str, str]:
    """The error codes of verifying a file against models that it wasn't made from."""
    from services.trainer.engine.inputs import read_pictures
    from services.trainer.engine.models.registry import build_model, network_of
    from services.trainer.engine.verify import verify

    network = network_of(STARTING_MODEL)
    pictures = read_pictures(spec.eval_files, 2, network.image_size)
    model = build_model(network, 3)
    found = {}
    for case, variables, bias in (("other boxes", "boxes_", 4.0), ("other scores", "scores_", 9.0)):
        for variable in model.head.trainable_variables:
            if variables in variable.name and "bias" in variable.name:
                variable.assign_add(np.full(variable.shape, bias))
        try:
            verify(model, network, path, wanted, pictures, len(spec.labels))
        except RunError as error:
            found[case] = error.code
    return found


def verdicts_on_lost_boxes() -> dict[str, bool]:
    """Does a comparison pass that lost nothing, one of sixteen boxes, or all boxes of the second label?"""
    from services.trainer.engine.verify import LIMITS, Comparison

    corners = np.array([[y, x] for y in range(4) for x in range(4)], np.float32) / 4
    boxes = np.hstack([corners, corners + 0.2]).astype(np.float32)
    labels = np.arange(16) % 2
    scores = np.where(np.eye(2)[labels] == 1, 0.9, 0.1).astype(np.float32)
    kept = {"nothing": labels < 2, "one box": np.arange(16) != 3, "one label": labels == 0}
    verdicts = {}
    for case, mask in kept.items():
        comparison = Comparison(LIMITS["float32"], 2)
        comparison.add((boxes, scores), (boxes[mask], labels[mask], scores.max(axis=1)[mask]), 0.6)
        verdicts[case] = comparison.good
    return verdicts
