"""What engine tests ask of TensorFlow: called in a process of its own, answers are plain values.

Everything of TensorFlow is imported inside the functions, as pytest's own process imports this module for their names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from services.trainer.engine.control import Interrupted, RunError, StopSignal
from services.trainer.protocol import FromChild, Phase, RunPhase, RunSpec, RunStarted, StopReason

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


def rates_of_optimizer(steps: int, batch_size: int, scale: float) -> list[float]:
    """The optimizer's own learning rate at each step and one beyond the end."""
    from services.trainer.engine.optimizer import TableSchedule, build_optimizer

    schedule = build_optimizer(steps, batch_size, scale).learning_rate
    again = TableSchedule.from_config(schedule.get_config())
    rates = [float(schedule(step)) for step in range(steps + 1)]
    assert rates == [float(again(step)) for step in range(steps + 1)]
    return rates


def run_here(
    spec: RunSpec, reason: StopReason | None = None, at: Phase | None = None, headway_seconds: float = 30.0
) -> tuple[list[FromChild], tuple[str, str] | None]:
    """All messages of a run in this process, asked to stop for `reason` as it enters a phase, at `preparing` before it begins,
    else once it has started; and the failure's (code, message)."""
    from services.trainer.engine import run as engine
    from services.trainer.engine.failures import explain

    messages: list[FromChild] = []
    stop = StopSignal()

    def report(message: FromChild) -> None:
        messages.append(message)
        due = isinstance(message, RunStarted) if at is None else message == RunPhase(phase=at)
        if due and reason is not None:
            stop.ask(reason)

    if at == "preparing" and reason is not None:
        stop.ask(reason)
    engine.HEADWAY_SECONDS = headway_seconds
    try:
        engine.run(spec, report, stop)
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


def warm_started(spec: RunSpec, parent: Path, step: int) -> dict[str, object]:
    """What a trainer begins with that starts from the checkpoint of `step` in `parent`, beside that checkpoint itself."""
    from services.trainer.engine import checkpoint
    from services.trainer.engine.prepare import build_trainer, load_start

    def weights(trainer: Any) -> list[Any]:
        return [variable.numpy() for variable in trainer.model.variables]

    def same(one: Any, other: Any) -> bool:
        return all(np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))

    said: list[FromChild] = []
    child, reference = (build_trainer(spec, lambda: None) for _ in range(2))
    checkpoint.restore(reference, parent, step)
    before = same(child, reference)
    load_start(child, spec, said.append, lambda: None)
    return {
        "same before": before,
        "same after": same(child, reference),
        "variables": len(weights(child)),
        "step": int(child.global_step.numpy()),
        "optimizer's steps": int(child.optimizer.iterations.numpy()),
        "momentum": sum(float(np.abs(each.numpy()).sum()) for each in child.optimizer.variables()[1:]),
        "notices": len(said),
    }


def interrupted_starts(folder: Path) -> dict[str, str]:
    """What a stop leaves of a download and of a calibration, each asked after its first piece."""
    import tensorflow as tf

    from services.trainer.engine import pretrained
    from services.trainer.engine.models.ssd import build_ssd_backbone

    def between() -> None:
        raise Interrupted("drained")

    (folder / "source").write_bytes(bytes(1 << 20))
    backbone = build_ssd_backbone()
    weights = backbone.get_weights()
    attempts: dict[str, Callable[[], None]] = {
        "download": lambda: pretrained.download((folder / "source").as_uri(), folder / "target", 60, between),
        "calibration": lambda: pretrained.calibrate(backbone, [tf.zeros((1, 300, 300, 3))], between),
    }
    found = {}
    for name, attempt in attempts.items():
        try:
            attempt()
        except Interrupted as interrupted:
            found[name] = interrupted.reason
    same = all(np.array_equal(a, b) for a, b in zip(weights, backbone.get_weights(), strict=True))
    return found | {"files": ", ".join(sorted(path.name for path in folder.iterdir())), "weights": f"same: {same}"}


def refused_checkpoints(spec: RunSpec, folder: Path) -> dict[str, str]:
    """What saving says where a weight, a batch norm's statistic or a momentum isn't finite, and where all are; anything left
    in a folder is named."""
    from services.trainer.engine import checkpoint
    from services.trainer.engine.optimizer import make_slots
    from services.trainer.engine.prepare import build_trainer

    trainer = build_trainer(spec, lambda: None)
    make_slots(trainer.optimizer, trainer.model.trainable_variables)
    kernel = trainer.model.trainable_variables[0]
    cases = {
        "weight": (kernel, np.nan),
        "statistic": (next(v for v in trainer.model.variables if "moving_variance" in v.name), np.inf),
        "momentum": (trainer.optimizer.get_slot(kernel, "momentum"), -np.inf),
        "none": (kernel, 0.0),
    }
    found = {}
    for name, (variable, value) in cases.items():
        kept = variable.numpy()
        spoilt = kept.copy()
        spoilt.flat[-1] = value
        variable.assign(spoilt)
        try:
            checkpoint.save(trainer, folder / name)
            found[name] = "saved"
        except RunError as error:
            left = ", left a folder" if (folder / name).exists() else ""
            found[name] = f"{error.code}: {error.message}{left}"
        variable.assign(kept)
    return found


def explain_error(kind: str, spec: RunSpec) -> tuple[str, str]:
    """What the user is told about an exception of `kind`."""
    import tensorflow as tf

    from services.trainer.engine.failures import explain

    errors: dict[str, BaseException] = {
        "memory": MemoryError(),
        "exhausted": tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
        "cuda": tf.errors.InternalError(None, None, "CUDA_ERROR_OUT_OF_MEMORY: Out of memory"),
        "operation": tf.errors.InvalidArgumentError(None, None, "something"),
        "other": KeyError("x"),
        "run": RunError("nan_loss", "As it is."),
    }
    return explain(errors[kind], spec)


def unknown_names() -> list[str]:
    """The errors for a starting model that nobody knows and a side that the anchors can't have."""
    from services.trainer.engine.models.registry import network_of
    from services.trainer.engine.models.ssd import anchor_boxes

    found = []
    for attempt in (
        lambda: network_of("yolo"),
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


def export_untrained(folder: Path, labels: list[str], records: list[str]) -> None:
    """A float16 file in `folder` of a model that was never trained but says definite things of pictures like `records`.

    Its batch norms know those pictures, so that each layer's output depends on what it sees, and its scores are spread ten
    times as wide as a fresh one's, so that no rounding decides which boxes are left.
    """
    import tensorflow as tf

    from services.trainer.engine.export import export, normalise
    from services.trainer.engine.inputs import read_pictures
    from services.trainer.engine.metadata import INPUT_MEAN, INPUT_STD
    from services.trainer.engine.models.registry import build_model, network_of

    tf.keras.utils.set_random_seed(1)
    network = network_of(STARTING_MODEL)
    model = build_model(network, len(labels) + 1)
    for part in (model.backbone, model.decoder):
        for layer in part.layers:
            if hasattr(layer, "moving_mean"):
                layer.momentum = 0.0
    pictures = np.stack(read_pictures(records, 8, network.image_size))
    model(normalise(tf.constant((pictures - INPUT_MEAN) / INPUT_STD, tf.float32)), training=True)
    for variable in model.head.trainable_variables:
        if "scores_" in variable.name and "kernel" in variable.name:
            variable.assign(variable * 10.0)
    export(model, network, labels, folder, ["float16"], name=STARTING_MODEL)
