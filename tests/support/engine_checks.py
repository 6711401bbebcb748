"""What engine tests ask of TensorFlow: called in a process of its own, answers are plain values.

Everything of TensorFlow is imported inside the functions, as pytest's own process imports this module for their names.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from services.trainer.engine.control import RunError, StopSignal
from services.trainer.protocol import FromChild, RunSpec, RunStarted, StopReason

STARTING_MODEL = "ssd_mobilenet_v2_320x320"


@functools.cache
def small_model() -> Any:
    """A fresh detector for two labels, one for all checks that don't train it."""
    from services.trainer.engine.models.registry import build_model, network_of

    return build_model(network_of(STARTING_MODEL), 3)


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


def run_here(spec: RunSpec, stop_at_start: StopReason | None = None) -> tuple[list[FromChild], str | None]:
    """All messages of a run in this process, asked to stop once it has started; and the error's code if it failed."""
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
        return messages, explain(error, spec)[0]
    return messages, None


def save_poisoned_weights(spec: RunSpec, folder: Path) -> None:
    """A parent model's checkpoint with a weight that is not a number."""
    from services.trainer.engine import checkpoint
    from services.trainer.engine.prepare import build_trainer

    trainer = build_trainer(spec, lambda: None)
    layer = trainer.model.backbone.get_layer("Conv_1")
    layer.set_weights([np.full_like(layer.get_weights()[0], np.nan)])
    checkpoint.save(trainer, folder)


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
            verify(model, network, path, wanted, pictures)
        except RunError as error:
            found[case] = error.code
    return found


def _pictures() -> list[Any]:
    """Two batches of smooth random pictures, normalised as the input pipeline does."""
    import tensorflow as tf
    from official.vision.ops.preprocess_ops import normalize_image

    small = tf.random.stateless_uniform([2, 4, 10, 10, 3], seed=[1, 2], maxval=256, dtype=tf.int32)
    large = [tf.cast(tf.image.resize(batch, [300, 300]), tf.uint8) for batch in small]
    return [tf.map_fn(normalize_image, batch, fn_output_signature=tf.float32) for batch in large]


def _cosine(a: Any, b: Any) -> float:
    a, b = np.ravel(a), np.ravel(b)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def keras_weights_fit(folder: Path) -> tuple[str, float]:
    """Write Keras weights, load them, and compare with Keras' own network on the same pictures: (notice code, cosine)."""
    import tf_keras
    from official.vision.ops.preprocess_ops import MEAN_NORM, STDDEV_NORM

    from services.trainer.engine.models.ssd import build_ssd_backbone
    from services.trainer.engine.pretrained import KERAS_FILE, load_pretrained

    source = tf_keras.applications.MobileNetV2(input_shape=(300, 300, 3), include_top=False, weights=None)
    source.save_weights(str(folder / KERAS_FILE))
    backbone = build_ssd_backbone()
    notice = load_pretrained(backbone, [], folder=str(folder), scratch=folder, url=None)
    ours = _pictures()[0]
    theirs = (ours * STDDEV_NORM + MEAN_NORM) * 2 - 1
    return notice.code, _cosine(backbone(ours, training=False)["5"], source(theirs, training=False))


def tflite_weights_fit(path: Path) -> dict[str, float]:
    """Cosines of the last map's features: inference after calibration, and training mode after and before it, each against
    inference before it."""
    from services.trainer.engine import pretrained
    from services.trainer.engine.models.ssd import build_ssd_backbone

    backbone = build_ssd_backbone()
    batches = _pictures()
    pretrained._load_tflite(backbone, path)
    before = backbone(batches[0], training=False)["4"]
    uncalibrated = backbone(batches[0], training=True)["4"]
    pretrained._load_tflite(backbone, path)
    pretrained.calibrate(backbone, batches)
    return {
        "inference": _cosine(before, backbone(batches[0], training=False)["4"]),
        "training": _cosine(before, backbone(batches[0], training=True)["4"]),
        "training uncalibrated": _cosine(before, uncalibrated),
    }


def notice_for(folder: Path | None, scratch: Path, url: str | None = None) -> tuple[str, str]:
    """Code and text of the notice for what `folder` holds."""
    from services.trainer.engine.pretrained import load_pretrained

    backbone = small_model().backbone
    notice = load_pretrained(backbone, [], folder=str(folder) if folder else None, scratch=scratch, url=url)
    return notice.code, notice.message


@contextlib.contextmanager
def _server(content: bytes, promised: int) -> Iterator[str]:
    """An HTTP server on loopback that answers anything with `content` and promises `promised` bytes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(promised))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/weights"
        server.shutdown()


def downloads(folder: Path) -> dict[str, str]:
    """What comes of downloads that succeed, break off, take too long, and find nobody."""
    from services.trainer.engine.pretrained import download

    found = {}
    cases = {"whole": (b"abc", 3, 10.0), "short": (b"abc", 5, 10.0), "slow": (b"abc", 3, -1.0)}
    for name, (content, promised, seconds) in cases.items():
        with _server(content, promised) as url:
            found[name] = _download(download, url, folder / name, seconds)
    found["nobody"] = _download(download, "http://127.0.0.1:9/weights", folder / "nobody", 10.0)
    return found


def _download(download: Any, url: str, target: Path, seconds: float) -> str:
    try:
        download(url, target, seconds)
    except OSError:
        return f"OSError, left: {sorted(path.name for path in target.parent.glob(target.name + '*'))}"
    return target.read_text()
