"""Balls and cubes of a made-up scene, ray-traced one at a time, and their shadows on the floor.

Owns shapes and surfaces. Pure. Conventions as in optics.py.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from services.cli.rendering.optics import Array, Camera, Light, Mask, SceneObject, smoothstep, unit

OVERSAMPLING = 2


def shadow(thing: SceneObject, floor: Array, light: Light) -> Array:
    """How much light the object takes from each floor position (height, width), 0..1."""
    slope = light.towards[:2] / light.towards[2]
    x, y = floor[..., 0], floor[..., 1]
    radius = thing.size / 2
    if thing.label == "ball":
        dx, dy = x - thing.x, y - thing.y
        along = dx * light.towards[0] + dy * light.towards[1] - radius * light.towards[2]
        miss = np.sqrt(np.maximum(dx * dx + dy * dy + radius * radius - along * along, 0))
        cast = smoothstep(radius * 1.2, radius * 0.7, miss)
    else:
        corners = corners_of(thing)
        cast = smoothstep(0.02, -0.012, _outside(_hull(corners[:, :2] - corners[:, 2:] * slope), x, y))
    contact = np.exp(-(((x - thing.x) ** 2 + (y - thing.y) ** 2) / (radius * 1.15) ** 2))
    return (1 - (1 - 0.6 * cast) * (1 - 0.55 * contact)).astype(np.float32)


def paint(
    random: np.random.Generator,
    camera: Camera,
    light: Light,
    thing: SceneObject,
    pixels: Array,
    owner: npt.NDArray[np.int16],
    number: int,
) -> None:
    """Draw the object into `pixels` and note in `owner` where it shows."""
    outline = camera.project(corners_of(thing))
    margin = 3
    left, top = np.floor(outline.min(axis=0)).astype(int) - margin
    right, bottom = np.ceil(outline.max(axis=0)).astype(int) + margin
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, camera.width), min(bottom, camera.height_pixels)
    n = OVERSAMPLING
    v, u = np.mgrid[top * n : bottom * n, left * n : right * n].astype(np.float32)
    rays = camera.rays((u + 0.5) / n, (v + 0.5) / n)
    render = _render_ball if thing.label == "ball" else _render_cube
    colour, hit = render(random, camera, light, thing, rays)
    cover = _average(hit[..., None].astype(np.float32))
    part = pixels[top:bottom, left:right]
    part *= 1 - cover
    part += _average(colour * hit[..., None])
    owner[top:bottom, left:right][cover[..., 0] > 0.5] = number


def _render_ball(
    random: np.random.Generator, camera: Camera, light: Light, thing: SceneObject, rays: Array
) -> tuple[Array, Mask]:
    """A ball with round holes all over."""
    radius = thing.size / 2
    centre = np.array([thing.x, thing.y, radius - camera.height], np.float32)
    view = unit(rays)
    along = view @ centre
    inside = along**2 - (centre @ centre - radius**2)
    hit = inside > 0
    normal = (view * (along - np.sqrt(np.maximum(inside, 0)))[..., None] - centre) / radius
    index = np.arange(26) + 0.5
    tilt, turn = np.arccos(1 - 2 * index / 26), math.pi * (1 + 5**0.5) * index + thing.yaw
    axes = np.stack([np.cos(turn) * np.sin(tilt), np.sin(turn) * np.sin(tilt), np.cos(tilt)], axis=0)
    spin, _ = np.linalg.qr(random.normal(size=(3, 3)))
    near = np.full(hit.shape, -1, np.float32)
    for axis in (spin @ axes).T.astype(np.float32):
        np.maximum(near, normal @ axis, out=near)
    hole = smoothstep(0.968, 0.982, near)[..., None]
    ground = 0.6 + 0.4 * smoothstep(-1.0, -0.1, normal[..., 2])  # the floor shades the underside
    colour = _shade(light, normal, view, thing.colour, 0.35) * ground[..., None]
    return (colour * (1 - 0.78 * hole)).astype(np.float32), hit


def _render_cube(
    random: np.random.Generator, camera: Camera, light: Light, thing: SceneObject, rays: Array
) -> tuple[Array, Mask]:
    """A plastic cube: bevelled edges, a raised cross on each side."""
    half = thing.size / 2
    cos, sin = math.cos(thing.yaw), math.sin(thing.yaw)
    into = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32)  # world to the cube's own axes
    start = into @ np.array([-thing.x, -thing.y, camera.height - half], np.float32)
    view = unit(rays)
    ray = view @ into.T
    ray = np.where(np.abs(ray) < 1e-6, 1e-6, ray)
    sign = np.sign(ray)
    enter, leave = (-half * sign - start) / ray, (half * sign - start) / ray
    axis = enter.argmax(axis=-1)
    first = np.maximum(np.maximum(enter[..., 0], enter[..., 1]), enter[..., 2])
    last = np.minimum(np.minimum(leave[..., 0], leave[..., 1]), leave[..., 2])
    hit = first < last
    on = (start + ray * first[..., None]) / half  # -1..1 on the cube
    face = np.eye(3, dtype=np.float32)[axis]
    normal = face * -sign
    from_middle = np.abs(on * (1 - face))  # 0 along the axis that looks out
    outer = np.maximum(np.maximum(from_middle[..., 0], from_middle[..., 1]), from_middle[..., 2])
    inner = from_middle[..., 0] + from_middle[..., 1] + from_middle[..., 2] - outer
    edge = smoothstep(0.90, 0.99, outer)
    rounded = unit(normal + (on * (1 - face)) * (0.8 * edge)[..., None])
    # Two grooves beside each diagonal make a raised cross, a third one a rim around it.
    groove = smoothstep(0.10, 0.05, np.abs(outer - inner - 0.16)) * smoothstep(0.86, 0.80, outer)
    rim = smoothstep(0.05, 0.02, np.abs(outer - 0.84))
    height = (start[2] + ray[..., 2] * first + half) / thing.size
    ground = 0.62 + 0.38 * smoothstep(0.0, 0.45, height)
    colour = _shade(light, rounded @ into, view, thing.colour, 0.18)
    return (colour * (ground * (1 - 0.30 * groove) * (1 - 0.25 * rim))[..., None]).astype(np.float32), hit


def _shade(light: Light, normal: Array, view: Array, albedo: Array, gloss: float) -> Array:
    """Light on a surface: sky and floor from all sides, the lamp from one, a highlight."""
    lamp = np.maximum(normal @ light.towards, 0)
    sky = light.ambient * (0.75 + 0.45 * normal[..., 2])
    half = unit(light.towards - view)
    highlight = gloss * np.maximum(np.einsum("...i,...i->...", normal, half), 0) ** 40
    lit: Array = (albedo * (sky + 0.85 * lamp)[..., None] + highlight[..., None]) * light.colour
    return lit


def corners_of(thing: SceneObject) -> Array:
    """A cube's corners (8, 3); bit 0 of the index is x, bit 1 y, bit 2 z."""
    half = thing.size / 2
    cos, sin = math.cos(thing.yaw), math.sin(thing.yaw)
    corners = [
        (thing.x + cos * i * half - sin * j * half, thing.y + sin * i * half + cos * j * half, k * thing.size)
        for k in (0, 1)
        for j in (-1, 1)
        for i in (-1, 1)
    ]
    return np.array(corners, np.float32)


def _hull(points: Array) -> Array:
    """The convex hull of points (n, 2), counter-clockwise."""
    ordered = sorted(map(tuple, points.tolist()))

    def half(sequence: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
        chain: list[tuple[float, ...]] = []
        for p in sequence:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], p) <= 0:
                chain.pop()
            chain.append(p)
        return chain[:-1]

    return np.array(half(ordered) + half(ordered[::-1]), np.float32)


def _turn(a: tuple[float, ...], b: tuple[float, ...], c: tuple[float, ...]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _outside(hull: Array, x: Array, y: Array) -> Array:
    """About how far (x, y) lies outside the hull, negative inside."""
    edges = np.roll(hull, -1, axis=0) - hull
    worst = np.full_like(x, -np.inf)
    for (px, py), (ex, ey) in zip(hull, edges, strict=True):
        length = max(float(np.hypot(ex, ey)), 1e-6)
        worst = np.maximum(worst, ((x - px) * ey - (y - py) * ex) / length)
    return worst


def _average(fine: Array) -> Array:
    """One value for each block of OVERSAMPLING x OVERSAMPLING."""
    n = OVERSAMPLING
    total = np.zeros((fine.shape[0] // n, fine.shape[1] // n, fine.shape[2]), np.float32)
    for row in range(n):
        for column in range(n):
            total += fine[row::n, column::n]
    return total / (n * n)
