"""How fast the engine trains, and what its files weigh: the real child beside the bare computation.

    python -m tests.bench.bench_engine [--steps 60] [--batch 8] [--pretrained DIR] [--every 30]

Trains on the BCCD archive where it is at hand (TRAINYARD_BCCD_ZIP), else on drawn pictures. The baseline is the least
that a step can take: the same network's forward pass, losses, gradients and update in one graph, on one batch that stays in
memory, with no reading, no augmentation, no metrics, no reports. The ratio is what everything around it costs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from PIL import Image

from services.cli.detect import Detector
from services.trainer.protocol import CheckpointEvaluated, CheckpointSaved, ModelExported, RunEnded, RunSpec, RunStarted
from tests.support.child import Child

REPOSITORY = Path(__file__).resolve().parents[2]
MAP = "DetectionBoxes_Precision/mAP"


def make_spec(folder: Path, arguments: argparse.Namespace) -> RunSpec:
    """Records in `folder` and a run over them: four fifths to train on, the rest to evaluate."""
    # Imported here: the process with TensorFlow imports this module too, and `tfrecord` can't live beside TensorFlow.
    from tests.support.records import bccd_archive, bccd_frames, drawn_frames, write_records

    archive = bccd_archive()
    frames = list(bccd_frames(archive)) if archive else list(drawn_frames(200, seed=1))
    random.Random(0).shuffle(frames)
    labels = sorted({box[0] for frame in frames for box in frame.boxes})
    split = len(frames) * 4 // 5
    return RunSpec(
        job_id="bench",
        attempt=1,
        starting_model="ssd_mobilenet_v2_320x320",
        train_files=write_records(frames[:split], folder, "train", labels, shards=5),
        eval_files=write_records(frames[split:], folder, "eval", labels, shards=5),
        train_frames=split,
        eval_frames=len(frames) - split,
        labels=labels,
        batch_size=arguments.batch,
        steps=arguments.steps,
        checkpoint_every=arguments.every,
        max_stepping_seconds=3600,
        seed=1,
        work_dir=str(folder / "work"),
        export_formats=["float32", "float16"],
        pretrained_dir=arguments.pretrained,
        allow_download=False,
    )


def bare_steps(spec: RunSpec, count: int) -> list[float]:
    """Seconds of each of `count` steps of the bare computation, the first one (tracing) left out."""
    import tensorflow as tf

    from services.trainer.engine.optimizer import build_optimizer
    from services.trainer.engine.task import DetectionTask, experiment

    config = experiment(spec)
    task = DetectionTask(config.task)
    model, optimizer = task.build_model(), build_optimizer(spec.steps, spec.batch_size)
    batch = next(iter(task.build_inputs(config.task.train_data)))
    step = tf.function(lambda: task.train_step(batch, model, optimizer)["loss"])
    seconds = []
    for _ in range(count + 1):
        begun = time.perf_counter()
        float(step())
        seconds.append(time.perf_counter() - begun)
    return seconds[1:]


def latency(path: Path) -> float:
    """Median milliseconds for one picture with two threads, resizing included."""
    detector, picture = Detector(path), Image.effect_noise((640, 480), 60).convert("RGB")
    times = []
    for _ in range(40):
        begun = time.perf_counter()
        detector.detect(picture)
        times.append(time.perf_counter() - begun)
    return 1000 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description="Bench of the training engine.")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--every", type=int, default=30)
    parser.add_argument("--pretrained", default=str(REPOSITORY.parent / "shared/data"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        spec = make_spec(Path(temporary), arguments)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
            bare = statistics.median(executor.submit(bare_steps, spec, 15).result())
        begun = time.monotonic()
        child = Child(spec)
        if child.wait(3600) != 0:
            raise SystemExit(child.tail())
        show(child, bare, begun)


def show(child: Child, bare: float, begun: float) -> None:
    """The tables."""
    times = {type(message): moment for message, moment in zip(child.messages, child.times, strict=True)}
    spec, end = child.spec, child.all(RunEnded)[0]
    whole = end.stepping_seconds / (end.step - 1)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"{spec.train_frames} pictures, {len(spec.labels)} labels, batch {spec.batch_size}, {end.step} steps\n")
    print(f"{'':32}{'seconds':>10}{'ratio':>8}")
    print(f"{'a step, bare computation':32}{bare:10.3f}{1:8.2f}")
    print(f"{'a step, whole':32}{whole:10.3f}{whole / bare:8.2f}")
    evaluations = child.all(CheckpointEvaluated)
    rows = {
        "to the end of the first step": times[RunStarted] - begun,
        "first evaluation": evaluations[0].seconds,
        "last evaluation": evaluations[-1].seconds,
        "export and comparison, 2 files": times[ModelExported] - times[CheckpointEvaluated],
    }
    for name, seconds in rows.items():
        print(f"{name:32}{seconds:10.2f}{seconds / bare:8.1f}")
    print(f"\npeak memory {peak:.2f} GB\n\n{'step':>6}{'mAP':>8}{'mAP@.50':>9}{'loss':>8}{'steps/s':>9}")
    for saved, evaluated in zip(child.all(CheckpointSaved), evaluations, strict=True):
        found = evaluated.evaluation
        print(
            f"{saved.step:6}{found[MAP]:8.3f}{found[MAP + '@.50IOU']:9.3f}"
            f"{saved.training['Loss/total_loss']:8.2f}{saved.training['steps_per_sec']:9.2f}"
        )
    exported = child.all(ModelExported)[0]
    print(f"\n{'file':10}{'MB':>8}{'ms':>8}{'lowest IoU':>12}{'score off':>11}")
    for wanted, name in exported.files.items():
        path, checks = Path(exported.path) / name, exported.checks[wanted]
        print(
            f"{wanted:10}{path.stat().st_size / 1e6:8.1f}{latency(path):8.1f}"
            f"{checks['lowest_iou']:12.4f}{checks['largest_score_difference']:11.5f}"
        )


if __name__ == "__main__":
    main()
