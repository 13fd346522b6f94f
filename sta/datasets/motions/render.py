"""From a scene to frames: warp, blend, light, noise."""

from __future__ import annotations

import cv2
import numpy as np

from sta.datasets.motions.scene import Scene, Sprite


def render_scene(scene: Scene) -> np.ndarray:
    """Render a scene without the camera's noise; returns (T, S, S, 3) float32 RGB in [0, 255].

    A frame depends on the scene at its own time alone: the reversed scene gives exactly the
    reversed frames.
    """
    frames = np.empty((scene.num_frames, scene.size, scene.size, 3), np.float32)
    for time, frame in enumerate(frames):
        _paint_background(frame, scene, time)
        for sprite in scene.sprites:
            _paint_sprite(frame, sprite, time)
    frames *= scene.gains[:, None, None, None].astype(np.float32)
    return np.clip(frames, 0, 255, out=frames)


def add_noise(frames: np.ndarray, rng: np.random.Generator, deviation: float) -> np.ndarray:
    """Add luma noise to (T, S, S, 3) frames and round; returns uint8.

    The three colours share the noise: 4:2:0 video would average coloured noise away.
    """
    noise = rng.standard_normal((*frames.shape[:3], 1), dtype=np.float32)
    noisy = frames + np.float32(deviation) * noise
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _paint_background(frame: np.ndarray, scene: Scene, time: int) -> None:
    """Fill a frame (S, S, 3) with its part of the background, placed to a fraction of a pixel."""
    x, y = scene.offsets[time]
    shift = np.array([[1, 0, x], [0, 1, y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    frame[:] = cv2.warpAffine(scene.background, shift, (scene.size, scene.size), flags=flags)


def _paint_sprite(frame: np.ndarray, sprite: Sprite, time: int) -> None:
    """Blend one object into a frame (S, S, 3); only the box that holds it is touched."""
    size, way = len(frame), sprite.trajectory
    center, reach = way.centers[time] * size, way.sides[time] * size / 2 + 1
    left, top = np.clip(np.floor(center - reach), 0, size).astype(int)
    right, bottom = np.clip(np.ceil(center + reach), 0, size).astype(int)
    if left >= right or top >= bottom:
        return
    # From a pixel's centre in the box back to the patch: move, turn back, scale.
    zoom = len(sprite.patch) / (way.sides[time] * size)
    cos, sin = zoom * np.cos(way.angles[time]), zoom * np.sin(way.angles[time])
    linear = np.array([[cos, sin], [-sin, cos]])
    offset = len(sprite.patch) / 2 - 0.5 + linear @ (np.array([left, top]) + 0.5 - center)
    matrix = np.column_stack([linear, offset])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(sprite.patch, matrix, (right - left, bottom - top), flags=flags)
    box = frame[top:bottom, left:right]
    box *= 1 - warped[..., 3:]
    box += warped[..., :3]
