"""Evaluation pictures of balls and cubes, and what a model that learns finds in them, as a trainer puts them into the store.

What is found in which picture at which step is a plain rule, so that a test can count it by hand.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from shared.contract.pictures import (
    PICTURES_FILE,
    PREDICTIONS_FILE,
    EvaluationPicture,
    FoundBox,
    FoundBoxes,
    Pictures,
    Predictions,
    TrueBox,
    jpeg_name,
    pack,
)
from shared.contract.views import PredictionsView
from shared.runtime.artifacts import Artifacts

COUNT = 12
_WIDTH, _HEIGHT = 640, 480
_SIDES = {"Ball": (0.10, 0.30, 0.1875, 0.25), "Cube": (0.55, 0.45, 0.20, 0.25)}  # x, y, width, height
_EMPTY = {"Ball": (0.05, 0.68, 0.16, 0.2), "Cube": (0.78, 0.08, 0.15, 0.2)}


def publish(artifacts: Artifacts, job_id: str, step: int, attempt: int = 1) -> PredictionsView:
    """The pictures of a job, where they aren't there yet, and its predictions at a step (blocking)."""
    view = PredictionsView(
        prefix=f"jobs/{job_id}/predictions/{step:08d}-a{attempt}", pictures=f"jobs/{job_id}/pictures-a{attempt}"
    )
    with tempfile.TemporaryDirectory() as named:
        folder = Path(named)
        (folder / PREDICTIONS_FILE).write_bytes(pack(Predictions(pictures=_found(step))))
        artifacts.publish(view.prefix, folder)
    if artifacts.find(view.pictures) is None:
        with tempfile.TemporaryDirectory() as named:
            folder = Path(named)
            pictures = [_picture(number) for number in range(COUNT)]
            (folder / PICTURES_FILE).write_bytes(pack(Pictures(pictures=pictures)))
            for picture in pictures:
                _draw(picture).save(folder / jpeg_name(picture.number), "JPEG", quality=85)
            artifacts.publish(view.pictures, folder)
    return view


def _labels(number: int) -> tuple[str, ...]:
    """What is in a picture: nothing in the first, both in each fourth, else balls and cubes by turns."""
    if number == 0:
        return ()
    if number % 4 == 3:
        return ("Ball", "Cube")
    return ("Cube",) if number % 2 else ("Ball",)


def _place(label: str, number: int) -> tuple[float, float, float, float]:
    """ymin, xmin, ymax, xmax of an object, which moves from picture to picture."""
    x, y, width, height = _SIDES[label]
    x, y = x + 0.015 * (number % 5), y + 0.02 * (number % 7)
    return (y, x, y + height, x + width)


def _picture(number: int) -> EvaluationPicture:
    boxes = [_true(label, _place(label, number)) for label in _labels(number)]
    return EvaluationPicture(
        number=number,
        dataset_id="d1",
        dataset="Field photos",
        file=f"frame{number:02d}.jpg",
        width=_WIDTH,
        height=_HEIGHT,
        boxes=boxes,
    )


def _found(step: int) -> list[FoundBoxes]:
    """At step 100 everything, with scores from 0.30 on; later scores begin at 0.70, from step 300 on at 0.85.

    From step 200 on picture 3's cube is taken for a ball. At 200, moreover, two balls and a cube are seen that aren't there
    (0.62, 0.55, 0.52), and picture 7's ball isn't.
    """
    base = 0.30 if step <= 100 else 0.70 if step <= 200 else 0.85
    learning = 100 < step <= 200
    found = []
    for number in range(COUNT):
        boxes = []
        for label in _labels(number):
            if learning and (number, label) == (7, "Ball"):
                continue
            taken = "Ball" if step > 100 and (number, label) == (3, "Cube") else label
            ymin, xmin, ymax, xmax = _place(label, number)
            off = 3 / (step + 200)
            boxes.append(_box(taken, base + number / 100, (ymin + off, xmin - off, ymax + off, xmax)))
        if learning and number in {5, 11}:
            x, y, width, height = _EMPTY["Ball"]
            boxes.append(_box("Ball", 0.62 if number == 5 else 0.55, (y, x, y + height, x + width)))
        if learning and number == 11:
            x, y, width, height = _EMPTY["Cube"]
            boxes.append(_box("Cube", 0.52, (y, x, y + height, x + width)))
        found.append(FoundBoxes(number=number, boxes=sorted(boxes, key=lambda box: -box.score)))
    return found


def _true(label: str, place: tuple[float, float, float, float]) -> TrueBox:
    ymin, xmin, ymax, xmax = place
    return TrueBox(label=label, ymin=ymin, xmin=xmin, ymax=ymax, xmax=xmax)


def _box(label: str, score: float, place: tuple[float, float, float, float]) -> FoundBox:
    ymin, xmin, ymax, xmax = place
    return FoundBox(label=label, score=score, ymin=ymin, xmin=xmin, ymax=ymax, xmax=xmax)


def _draw(picture: EvaluationPicture) -> Image.Image:
    """A grey floor with light from one side, an orange ball, a blue cube."""
    noise = np.random.default_rng(picture.number).normal(0, 7, (_HEIGHT, _WIDTH, 1))
    light = np.linspace(95, 165, _WIDTH)[None, :, None] + np.linspace(-25, 30, _HEIGHT)[:, None, None]
    floor = np.clip(light + noise + np.array([6, 2, -6]), 0, 255).astype(np.uint8)
    image = Image.fromarray(floor).filter(ImageFilter.GaussianBlur(1.2))
    pen = ImageDraw.Draw(image)
    for box in picture.boxes:
        corners = (box.xmin * _WIDTH, box.ymin * _HEIGHT, box.xmax * _WIDTH, box.ymax * _HEIGHT)
        shadow = (corners[0] + 8, corners[3] - 16, corners[2] + 18, corners[3] + 8)
        pen.ellipse(shadow, fill=(62, 60, 58))
        if box.label == "Ball":
            pen.ellipse(corners, fill=(214, 122, 42))
            pen.arc(corners, 200, 300, fill=(245, 190, 130), width=6)
        else:
            pen.rectangle(corners, fill=(52, 88, 160))
            pen.rectangle((corners[0], corners[1], corners[2], corners[1] + 24), fill=(96, 134, 206))
    return image.filter(ImageFilter.GaussianBlur(0.8))
