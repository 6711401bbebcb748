"""The eye and the light of a made-up scene, and the arithmetic that its painters share.

Pure. Lengths are metres, angles radians, light is linear 0..1. World axes: x right, y ahead, z up; the camera stands above the
origin of the floor.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]


class SceneObject(NamedTuple):
    """A ball (`size` is its diameter) or a cube (its edge) on the floor at (x, y), turned by `yaw`."""

    label: str
    x: float
    y: float
    size: float
    yaw: float
    colour: Array


class Camera(NamedTuple):
    """A pinhole camera; `focal` in pixels, `pitch` downwards, `roll` clockwise."""

    width: int
    height_pixels: int
    focal: float
    height: float
    pitch: float
    roll: float

    def rays(self, u: Array, v: Array) -> Array:
        """Directions (not unit length) through the pixel positions u, v: shape u.shape + (3,)."""
        du, dv = (u - self.width / 2) / self.focal, (v - self.height_pixels / 2) / self.focal
        turned_u = du * math.cos(self.roll) - dv * math.sin(self.roll)
        turned_v = du * math.sin(self.roll) + dv * math.cos(self.roll)
        sin, cos = math.sin(self.pitch), math.cos(self.pitch)
        return np.stack([turned_u, cos - turned_v * sin, -sin - turned_v * cos], axis=-1).astype(np.float32)

    def project(self, points: Array) -> Array:
        """Pixel positions (n, 2) of world points (n, 3), all of which lie ahead."""
        offset = points - np.array([0, 0, self.height], np.float32)
        sin, cos = math.sin(self.pitch), math.cos(self.pitch)
        depth = offset[:, 1] * cos - offset[:, 2] * sin
        turned_u = offset[:, 0] / depth
        turned_v = (-offset[:, 1] * sin - offset[:, 2] * cos) / depth
        du = turned_u * math.cos(self.roll) + turned_v * math.sin(self.roll)
        dv = -turned_u * math.sin(self.roll) + turned_v * math.cos(self.roll)
        centre = np.array([self.width / 2, self.height_pixels / 2], np.float32)
        return (np.stack([du, dv], axis=-1) * self.focal + centre).astype(np.float32)


class Light(NamedTuple):
    """`towards` is the unit vector to the lamp; `colour` its tint; the lamp makes a pool of light around `pool`."""

    towards: Array
    colour: Array
    pool: tuple[float, float]
    ambient: float


def smoothstep(low: float | Array, high: float | Array, value: Array) -> Array:
    """0 at `low`, 1 at `high` (which may be the smaller), without a corner between."""
    t: Array = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def unit(vectors: Array) -> Array:
    """Vectors along the last axis, made one long. (norm(axis=-1) and sum(axis=-1) are slow over three numbers.)"""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    length: Array = np.sqrt(x * x + y * y + z * z)
    return vectors / length[..., None]
