"""The empty field of a made-up scene: a floor of tiles, planks or carpet, a border, the room behind.

Owns textures. Pure: a random generator in, light out. Conventions as in optics.py.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from services.cli.rendering.optics import Array, Camera, Light, smoothstep


def backdrop(random: np.random.Generator, camera: Camera, light: Light) -> tuple[Array, Array]:
    """The lit field without objects (height, width, 3), and for each pixel the floor position that it shows (or would)."""
    v, u = np.mgrid[0 : camera.height_pixels, 0 : camera.width].astype(np.float32) + 0.5
    rays = camera.rays(u, v)
    wall_at = random.uniform(2.2, 3.0)
    to_floor = camera.height / np.maximum(-rays[..., 2], 1e-4)
    to_wall = wall_at / np.maximum(rays[..., 1], 1e-4)
    is_floor = to_floor < to_wall
    x, y = rays[..., 0] * to_floor, rays[..., 1] * to_floor
    footprint = to_floor / camera.focal * 1.5  # metres of floor that one pixel spans, about
    floor = (_foam_tiles, _foam_tiles, _planks, _carpet)[random.integers(4)](random, x, y, footprint)
    distance = np.hypot(x - light.pool[0], y - light.pool[1])
    floor *= (light.ambient + (1.05 - light.ambient) * np.exp(-((distance / 1.5) ** 2)))[..., None]
    above = int(np.flatnonzero(~is_floor.all(axis=1)).max(initial=0)) + 1  # rows that show any of the wall
    walled = to_wall[:above]
    wall = _wall(random, rays[:above, :, 0] * walled, camera.height + rays[:above, :, 2] * walled)
    # The corner between wall and floor lies in the dark.
    floor *= (0.55 + 0.45 * smoothstep(0.0, 0.35, wall_at - y))[..., None]
    floor[:above] = np.where(is_floor[:above, :, None], floor[:above], wall)
    points = np.stack([np.where(is_floor, x, 1e3), np.where(is_floor, y, 1e3)], axis=-1)
    return (floor * light.colour).astype(np.float32), points.astype(np.float32)


def _foam_tiles(random: np.random.Generator, x: Array, y: Array, footprint: Array) -> Array:
    """Grey interlocking foam tiles of 0.6 m with speckles, and sometimes a line of coloured tape."""
    turn = random.uniform(0, math.pi)
    shift = random.uniform(0, 0.6), random.uniform(0, 0.6)
    a = x * math.cos(turn) + y * math.sin(turn) + shift[0]
    b = y * math.cos(turn) - x * math.sin(turn) + shift[1]
    grey = random.uniform(0.16, 0.34)
    tint = np.array([1, 1, random.uniform(1.0, 1.15)], np.float32)
    speckle = _sample(_noise(random, 512, 256), a, b, 0.9)
    blotch = _sample(_noise(random, 256, 16), a, b, 1.7)
    level = grey * (1 + 0.10 * speckle * smoothstep(0.012, 0.002, footprint) + 0.035 * blotch)
    for along, across in ((a, b), (b, a)):
        teeth = 0.022 * np.tanh(3.5 * np.sin(along * (2 * math.pi / 0.15)))
        seam = np.abs((across + teeth + 0.3) % 0.6 - 0.3)
        level *= 1 - 0.6 * smoothstep(0.004 + footprint, 0.001, seam)
    pixels = level[..., None] * tint
    if random.random() < 0.45:
        tape = np.array(((0.45, 0.05, 0.05), (0.05, 0.10, 0.42), (0.75, 0.75, 0.72))[random.integers(3)], np.float32)
        heading, offset = random.uniform(0, math.pi), random.uniform(0.7, 1.5)
        gap = np.abs(x * math.cos(heading) + (y - offset) * math.sin(heading))
        cover = smoothstep(0.025 + footprint, 0.025 - footprint * 0.2, gap)[..., None]
        pixels = pixels * (1 - cover) + tape * (0.9 + 0.1 * level[..., None] / grey) * cover
    return pixels.astype(np.float32)


def _planks(random: np.random.Generator, x: Array, y: Array, footprint: Array) -> Array:
    """A wooden floor."""
    turn = random.uniform(0, math.pi)
    a, b = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    board = np.floor(b / 0.11)
    along = a + board * 0.377
    tones = random.normal(0, 1, 64).astype(np.float32)
    plank = (board.astype(np.int32) * 7 + np.floor(along / 0.8).astype(np.int32) * 13) & 63
    grain = _sample(_noise(random, 512, 128), along * 0.12, b + tones[plank] * 0.3, 0.55)
    fine = _sample(_noise(random, 512, 256), along * 0.06, b, 0.35)
    level = 1 + 0.13 * tones[plank] + (0.10 * grain + 0.06 * fine) * smoothstep(0.014, 0.002, footprint)
    for edge, half in (((b / 0.11) % 1 * 0.11, 0.11), (along % 0.8, 0.8)):
        gap = np.minimum(edge, half - edge)
        level *= 1 - 0.55 * smoothstep(0.002 + footprint * 0.8, 0.0, gap)
    wood = np.array(((0.34, 0.19, 0.10), (0.42, 0.27, 0.15), (0.27, 0.15, 0.09))[random.integers(3)], np.float32)
    pixels: Array = np.maximum(level, 0.1)[..., None] * wood
    return pixels


def _carpet(random: np.random.Generator, x: Array, y: Array, footprint: Array) -> Array:
    """A short-pile carpet in a dull colour."""
    base = np.array(
        ((0.16, 0.18, 0.22), (0.20, 0.19, 0.17), (0.11, 0.15, 0.13), (0.22, 0.16, 0.15))[random.integers(4)],
        np.float32,
    )
    pile = _sample(_noise(random, 512, 256), x, y, 0.7) * smoothstep(0.012, 0.002, footprint)
    worn = _sample(_noise(random, 256, 8), x, y, 2.3)
    return (np.maximum(1 + 0.16 * pile + 0.07 * worn, 0.1)[..., None] * base).astype(np.float32)


def _wall(random: np.random.Generator, x: Array, z: Array) -> Array:
    """The field's border with posts, and the room behind it out of focus."""
    panel = np.array([0.20, 0.21, 0.23], np.float32) * random.uniform(0.6, 1.6)
    sheen = 1 + 0.25 * smoothstep(0.0, 0.3, z) + 0.05 * np.sin(x * 3 + random.uniform(0, 6))
    post = smoothstep(0.03, 0.02, np.abs((x + random.uniform(0, 1)) % 0.9 - 0.45))
    rail = smoothstep(0.022, 0.012, np.abs(z - 0.30)) + smoothstep(0.03, 0.02, z)
    frame = np.clip(post + rail, 0, 1)[..., None]
    border = panel * sheen[..., None] * (1 - frame) + np.array([0.05, 0.05, 0.055], np.float32) * frame
    blobs = (
        np.stack([_noise(random, 256, 8) for _ in range(3)], axis=-1) * 0.05 + _noise(random, 256, 4)[..., None] * 0.11
    )
    row = (z * 60).astype(np.int32) & 255
    column = (x * 60).astype(np.int32) & 255
    room = np.clip(random.uniform(0.15, 0.4) + blobs[row, column], 0.02, 0.9)
    return np.where((z > 0.31)[..., None], room, border).astype(np.float32)


def _noise(random: np.random.Generator, side: int, cells: int) -> Array:
    """Smooth noise of mean 0 and deviation about 1 that repeats at its edges: (side, side)."""
    grid = np.pad(random.normal(size=(cells, cells)).astype(np.float32), 3, mode="wrap")
    step = side // cells
    large = Image.fromarray(grid).resize((grid.shape[1] * step, grid.shape[0] * step), Image.Resampling.BICUBIC)
    return np.asarray(large)[3 * step : 3 * step + side, 3 * step : 3 * step + side]


def _sample(texture: Array, x: Array, y: Array, scale: float) -> Array:
    """The texture at floor positions; it repeats every `scale` metres."""
    side = texture.shape[0]
    column = (x * (side / scale)).astype(np.int32) & (side - 1)
    row = (y * (side / scale)).astype(np.int32) & (side - 1)
    picked: Array = texture[row, column]
    return picked
