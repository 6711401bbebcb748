"""One made-up photograph of game elements on a playing field.

Owns what is in it and what is labelled. Pure: a random generator in, a picture and its boxes out. Conventions as in optics.py.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from services.cli.rendering.field import backdrop
from services.cli.rendering.objects import paint, shadow
from services.cli.rendering.optics import Array, Camera, Light, SceneObject

LABELS = ("ball", "cube")
SIZES = ((640, 480), (512, 384), (480, 360), (400, 300))
# An object shows if this many pixels of it do; `_place` lets none hide farther than that behind another.
MIN_PIXELS = 40

BALL_COLOURS = ((0.90, 0.62, 0.05), (0.93, 0.70, 0.10), (0.86, 0.52, 0.04))
CUBE_COLOURS = ((0.42, 0.05, 0.05), (0.04, 0.12, 0.42), (0.05, 0.30, 0.10), (0.26, 0.07, 0.38))


class Shot(NamedTuple):
    """A finished picture with its boxes as (label, xmin, ymin, xmax, ymax) in whole pixels, the last two exclusive."""

    image: Image.Image
    boxes: list[tuple[str, int, int, int, int]]


def shoot(random: np.random.Generator, *, empty: bool) -> Shot:
    """One picture; `empty` ones show the field without any ball or cube."""
    width, height = SIZES[random.integers(len(SIZES))]
    camera = Camera(
        width=width,
        height_pixels=height,
        focal=width * random.uniform(0.85, 1.1),
        height=random.uniform(0.28, 0.5),
        pitch=random.uniform(0.30, 0.52),
        roll=random.normal(0, 0.02),
    )
    light = _light(random)
    objects = [] if empty else _place(random, camera)
    pixels, floor_points = backdrop(random, camera, light)
    for thing in objects:
        pixels *= 1 - shadow(thing, floor_points, light)[..., None]
    owner = np.full((height, width), -1, np.int16)
    for number, thing in enumerate(objects):  # the farthest first
        paint(random, camera, light, thing, pixels, owner, number)
    return Shot(_develop(random, pixels), _boxes(objects, owner))


def _light(random: np.random.Generator) -> Light:
    azimuth, elevation = random.uniform(0, 2 * math.pi), random.uniform(0.75, 1.25)
    towards = np.array(
        [math.cos(azimuth) * math.cos(elevation), math.sin(azimuth) * math.cos(elevation), math.sin(elevation)],
        np.float32,
    )
    warmth = random.uniform(-0.08, 0.08)
    colour = np.array([1 + warmth, 1, 1 - warmth], np.float32)
    return Light(towards, colour, (random.uniform(-0.6, 0.6), random.uniform(0.6, 1.6)), random.uniform(0.32, 0.45))


def _place(random: np.random.Generator, camera: Camera) -> list[SceneObject]:
    """One to five objects, mostly in view and at most half hidden by one another, the farthest first."""
    placed: list[SceneObject] = []
    seen: list[tuple[Array, float]] = []  # middle and radius in pixels
    wanted = int(random.choice([1, 2, 3, 4, 5], p=[0.15, 0.3, 0.3, 0.15, 0.1]))
    nearest = camera.height / math.tan(camera.pitch + 0.28)
    frame = np.array([camera.width, camera.height_pixels], np.float32)
    for _ in range(60):
        if len(placed) == wanted:
            break
        label = LABELS[random.integers(2)]
        y = random.uniform(nearest, 1.9)
        x = random.uniform(-0.45, 0.45) * y * camera.width / camera.focal
        size = random.uniform(0.13, 0.16) if label == "ball" else random.uniform(0.12, 0.15)
        palette = BALL_COLOURS if label == "ball" else CUBE_COLOURS
        colour = np.array(palette[random.integers(len(palette))], np.float32)
        colour = np.clip(colour * random.normal(1, 0.05, 3), 0.01, 0.95).astype(np.float32)
        middle = camera.project(np.array([[x, y, size / 2]], np.float32))[0]
        radius = camera.focal * size / y / 2
        in_view = bool((np.abs(middle - frame / 2) < frame / 2 - 0.3 * radius).all())
        apart = all(np.hypot(x - other.x, y - other.y) > 0.75 * (size + other.size) for other in placed)
        clear = all(np.hypot(*(middle - there)) > max(radius, beside) for there, beside in seen)
        if in_view and apart and clear:
            placed.append(SceneObject(label, x, y, size, random.uniform(0, math.pi / 2), colour))
            seen.append((middle, radius))
    return sorted(placed, key=lambda thing: -thing.y)


def _boxes(objects: list[SceneObject], owner: npt.NDArray[np.int16]) -> list[tuple[str, int, int, int, int]]:
    """Around what shows of each object."""
    boxes = []
    for number, thing in enumerate(objects):
        rows, columns = np.nonzero(owner == number)
        if rows.size >= MIN_PIXELS:
            edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            xmin, ymin, xmax, ymax = map(int, edges)
            boxes.append((thing.label, xmin, ymin, xmax, ymax))
    return boxes


def _develop(random: np.random.Generator, linear: Array) -> Image.Image:
    """What a small camera makes of the light: exposure, vignette, focus, noise, gamma."""
    height, width = linear.shape[:2]
    v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    exposure = random.uniform(0.95, 1.45) * (1 - random.uniform(0.12, 0.28) * (u * u + v * v) / 2)
    light = linear * exposure[..., None]
    light = (
        light * (1 + light * 0.12) / (1 + light * 0.35)
    )  # the shoulder of the film keeps highlights from burning out
    grain = random.standard_normal(light.shape, dtype=np.float32)
    light += grain * np.sqrt(np.maximum(light, 0.002)) * random.uniform(0.008, 0.022)
    encoded = np.clip(light, 0, 1) ** (1 / 2.2) * 255
    image = Image.fromarray((encoded + 0.5).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(random.uniform(0.35, 0.9)))
