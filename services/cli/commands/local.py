"""`trainyard sample` and `detect`: what needs no server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from PIL import Image, ImageOps

from services.cli import figures, show
from services.cli.context import Context, json_option, pass_context
from services.cli.sample import write_sample
from shared.contract.errors import UserError

if TYPE_CHECKING:
    from services.cli.detect import Detector


class Found(msgspec.Struct, frozen=True):
    """One object; `box` is (xmin, ymin, xmax, ymax) in 0..1 of the picture."""

    label: str
    score: float
    box: tuple[float, float, float, float]


class Looked(msgspec.Struct, frozen=True):
    """One picture, what was found on it, and where it is with the boxes drawn."""

    picture: str
    annotated: str
    objects: list[Found]


@click.command()
@click.argument("output", metavar="OUT.zip", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--pictures", metavar="N", type=click.IntRange(1, 100_000), default=150, show_default=True)
@click.option("--seed", metavar="N", type=click.IntRange(min=0), default=0, show_default=True)
@json_option
@pass_context
def sample(context: Context, output: Path, pictures: int, seed: int) -> None:
    """Make labelled sample pictures of balls and cubes, in a zip to add as a dataset."""
    try:
        with context.err.status(f"Making {figures.count(pictures, 'picture')}"):
            made = write_sample(output, pictures, seed)
    except OSError as error:
        raise UserError("cannot_write", f"{output}: {error.strerror or error}.", "OUT.zip") from error
    boxes = ", ".join(figures.count(number, label) for label, number in made.boxes.items())
    words = f"{output}  {figures.count(made.pictures, 'picture')} ({made.negatives} without any object), {boxes}, "
    document = {"path": str(output), **msgspec.to_builtins(made)}
    context.show(document, show.text(words + figures.size(made.bytes)))


@click.command()
@click.argument("model", metavar="MODEL.tflite", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument(
    "pictures",
    metavar="IMAGE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--output",
    "-o",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default="detections",
    show_default=True,
    help="Where the pictures with boxes go.",
)
@click.option(
    "--threshold",
    metavar="SCORE",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Show objects with at least this score.",
)
@json_option
@pass_context
def detect(context: Context, model: Path, pictures: tuple[Path, ...], output: Path, threshold: float) -> None:
    """Run a downloaded model on pictures, here, and write them with boxes as PNG."""
    detector = _load(model)
    try:
        output.mkdir(parents=True, exist_ok=True)
        looked = [
            _look(detector, picture, target, threshold)
            for picture, target in zip(pictures, _targets(output, pictures), strict=True)
        ]
    except OSError as error:
        raise UserError(
            "cannot_write", f"{error.filename or output}: {error.strerror or error}.", "--output"
        ) from error
    context.show({"pictures": looked}, *(show.text(f"{item.annotated}  {_words(item.objects)}") for item in looked))


def _load(model: Path) -> Detector:
    try:
        from services.cli.detect import BadModel, Detector
    except ImportError as error:
        message = f"{error.name} isn't installed: this command needs `pip install 'trainyard[local]'`."
        raise UserError("not_installed", message) from error
    try:
        return Detector(model)
    except (BadModel, OSError) as error:
        raise UserError("bad_model", f"{model} can't be run: {error}.", "MODEL.tflite") from error


def _look(detector: Detector, picture: Path, target: Path, threshold: float) -> Looked:
    from services.cli.detect import annotate

    try:
        with Image.open(picture) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        raise UserError("bad_picture", f"{picture} can't be read as a picture: {error}", "IMAGE") from error
    found = detector.detect(image, least_score=threshold)
    annotate(image, found, detector.labels).save(target)
    return Looked(str(picture), str(target), [Found(one.label, round(one.score, 4), one.box) for one in found])


def _words(objects: Sequence[Found]) -> str:
    """ "ball 91%, cube ×3 (best 87%)"; the best comes first in `objects`."""
    scores: dict[str, list[float]] = {}
    for one in objects:
        scores.setdefault(one.label, []).append(one.score)
    found = (
        f"{label} {best:.0%}" if not others else f"{label} ×{1 + len(others)} (best {best:.0%})"
        for label, (best, *others) in scores.items()
    )
    return ", ".join(found) or "nothing found"


def _targets(folder: Path, pictures: Sequence[Path]) -> list[Path]:
    """A name for each picture, told apart by a number where two have the same."""
    taken: set[str] = set()
    targets = []
    for picture in pictures:
        name, number = picture.stem, 2
        while name in taken:
            name, number = f"{picture.stem}-{number}", number + 1
        taken.add(name)
        targets.append(folder / f"{name}.png")
    return targets
