"""What tests of pretrained weights ask of TensorFlow: called in a process of its own, answers are plain values.

Everything of TensorFlow is imported inside the functions, as pytest's own process imports this module for their names.
"""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


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
    from services.trainer.engine.models.ssd import build_ssd_backbone
    from services.trainer.engine.pretrained import load_pretrained

    backbone = build_ssd_backbone()
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
