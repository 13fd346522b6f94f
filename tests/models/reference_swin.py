"""VideoSwin with STA once more, slowly: one clip, one window, one position at a time, in float64.

Written from the description of the method and sharing no code with the package: fill, pad, roll,
cut, attend, put back, roll back, pick.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tests.pruning import reference

Array = np.ndarray
Weights = dict[str, Array]


class Result(NamedTuple):
    """Tokens of the last stage (K, C) in kept order, and kept positions of every pruning stage."""

    tokens: Array
    kept: list[list[int]]


def layer_norm(x: Array, weights: Weights, name: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * weights[f'{name}.weight'] + weights[f'{name}.bias']


def linear(x: Array, weights: Weights, name: str) -> Array:
    out = x @ weights[f'{name}.weight'].T
    return out + weights[f'{name}.bias'] if f'{name}.bias' in weights else out


def gelu(x: Array) -> Array:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def embed(clip: Array, weights: Weights, patch: tuple[int, int, int]) -> Array:
    """(3, frames, H, W) to (T, H', W', C); an incomplete tubelet is filled up with zeros."""
    missing = [(-n) % p for n, p in zip(clip.shape[1:], patch)]
    clip = np.pad(clip, [(0, 0), *((0, m) for m in missing)])
    shape = [n // p for n, p in zip(clip.shape[1:], patch)]
    kernel = weights['patch_embed.proj.weight'].reshape(len(weights['patch_embed.proj.weight']), -1)
    out = np.zeros((*shape, len(kernel)))
    for t, y, x in np.ndindex(*shape):
        cut = clip[
            :,
            t * patch[0] : (t + 1) * patch[0],
            y * patch[1] : (y + 1) * patch[1],
            x * patch[2] : (x + 1) * patch[2],
        ]
        out[t, y, x] = kernel @ cut.reshape(-1) + weights['patch_embed.proj.bias']
    return layer_norm(out, weights, 'patch_embed.norm')


def fill(values: Array, kept: list[int], shape: tuple[int, int, int]) -> Array:
    """Give every position the vector of its nearest kept token of the same frame."""
    frames, height, width = shape
    full = np.zeros((*shape, values.shape[-1]))
    for t in range(frames):
        here = [
            (p % (height * width), place)
            for place, p in enumerate(kept)
            if p // (height * width) == t
        ]
        for y in range(height):
            for x in range(width):
                _, _, place = min(
                    ((p // width - y) ** 2 + (p % width - x) ** 2, p, place) for p, place in here
                )
                full[t, y, x] = values[place]
    return full


def attend(grid: Array, weights: Weights, name: str, heads: int, window, shift) -> Array:
    """Window attention on a full normalised grid (T, H, W, C); projection included."""
    shape = grid.shape[:3]
    full_window = window
    shift = [0 if n <= w else s for n, w, s in zip(shape, window, shift)]
    window = [min(n, w) for n, w in zip(shape, window)]
    missing = [(-n) % w for n, w in zip(shape, window)]
    padded = np.pad(grid, [*((0, m) for m in missing), (0, 0)])
    sizes = padded.shape[:3]
    rolled = np.roll(padded, [-s for s in shift], axis=(0, 1, 2))
    out = np.zeros_like(rolled)
    table = weights[f'{name}.relative_position_bias_table']
    places = list(np.ndindex(*full_window))[: window[0] * window[1] * window[2]]
    spans = [2 * w - 1 for w in full_window]
    index = np.array(
        [
            [
                ((a[0] - b[0] + full_window[0] - 1) * spans[1] + a[1] - b[1] + full_window[1] - 1)
                * spans[2]
                + a[2]
                - b[2]
                + full_window[2]
                - 1
                for b in places
            ]
            for a in places
        ]
    )
    bias = table[index]
    for corner in np.ndindex(*(n // w for n, w in zip(sizes, window))):
        spots = [
            tuple(c * w + o for c, w, o in zip(corner, window, offset))
            for offset in np.ndindex(*window)
        ]
        tokens = np.stack([rolled[spot] for spot in spots])
        # A token that was carried round the edge sees only those that came with it, and back.
        wrapped = np.array(
            [[s > 0 and p >= n - s for p, n, s in zip(spot, sizes, shift)] for spot in spots]
        )
        apart = (wrapped[:, None] != wrapped[None]).any(-1)
        qkv = linear(tokens, weights, f'{name}.qkv').reshape(len(spots), 3, heads, -1)
        mixed = np.zeros((len(spots), heads, qkv.shape[-1]))
        for head in range(heads):
            q, k, v = qkv[:, 0, head], qkv[:, 1, head], qkv[:, 2, head]
            logits = q @ k.T / math.sqrt(q.shape[-1]) + bias[..., head] - 100.0 * apart
            share = np.exp(logits - logits.max(-1, keepdims=True))
            mixed[:, head] = share / share.sum(-1, keepdims=True) @ v
        for spot, value in zip(
            spots, linear(mixed.reshape(len(spots), -1), weights, f'{name}.proj')
        ):
            out[spot] = value
    back = np.roll(out, shift, axis=(0, 1, 2))
    return back[: shape[0], : shape[1], : shape[2]]


def merge(grid: Array, weights: Weights, name: str) -> Array:
    """(T, H, W, C) to (T, H/2, W/2, 2C); odd sides get a zero row or column."""
    grid = np.pad(grid, [(0, 0), (0, grid.shape[1] % 2), (0, grid.shape[2] % 2), (0, 0)])
    parts = [grid[:, y::2, x::2] for y, x in ((0, 0), (1, 0), (0, 1), (1, 1))]
    joined = layer_norm(np.concatenate(parts, -1), weights, f'{name}.norm')
    return linear(joined, weights, f'{name}.reduction')


def mean_of_merged(grid: Array) -> Array:
    """(T, H, W, D) to (T, ceil H/2, ceil W/2, D): the mean of the positions there are."""
    frames, height, width, channels = grid.shape
    out = np.zeros((frames, -(-height // 2), -(-width // 2), channels))
    for t, y, x in np.ndindex(out.shape[:3]):
        out[t, y, x] = grid[t, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean((0, 1))
    return out


def run(
    clip: Array,
    weights: Weights,
    *,
    depths: list[int],
    num_heads: list[int],
    window: tuple[int, int, int],
    patch: tuple[int, int, int],
    drops: list[int],
    first_frame: str = 'tome_rounds',
    similarity: str = 'key',
) -> Result:
    """The whole backbone for one clip (3, frames, H, W); drops per frame behind each merging."""
    weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    grid = embed(np.asarray(clip, np.float64), weights, patch)
    shape = grid.shape[:3]
    tokens, kept, kept_per_stage = (
        grid.reshape(-1, grid.shape[-1]),
        list(range(grid[..., 0].size)),
        [],
    )
    for i, depth in enumerate(depths):
        for j in range(depth):
            name = f'layers.{i}.blocks.{j}'
            shift = [w // 2 for w in window] if j % 2 else [0, 0, 0]
            normal = layer_norm(fill(tokens, kept, shape), weights, f'{name}.norm1')
            mixed = attend(normal, weights, f'{name}.attn', num_heads[i], window, shift)
            qkv = linear(normal, weights, f'{name}.attn.qkv')
            qkv = qkv.reshape(*shape, 3, num_heads[i], -1).mean(-2)
            tokens = tokens + mixed.reshape(-1, mixed.shape[-1])[kept]
            hidden = gelu(
                linear(layer_norm(tokens, weights, f'{name}.norm2'), weights, f'{name}.mlp.fc1')
            )
            transformed = linear(hidden, weights, f'{name}.mlp.fc2')
            tokens = tokens + transformed
        if i == len(depths) - 1:
            break
        feature = {
            'query': qkv[..., 0, :],
            'key': qkv[..., 1, :],
            'value': qkv[..., 2, :],
            'ffn': fill(transformed, kept, shape),
        }[similarity]
        grid = merge(fill(tokens, kept, shape), weights, f'layers.{i}.downsample')
        feature = mean_of_merged(feature)
        shape = grid.shape[:3]
        length = shape[0] * shape[1] * shape[2]
        stage = reference.prune_stage(
            grid.reshape(1, length, -1),
            feature.reshape(1, length, -1),
            num_chunks=shape[0],
            num_drop=drops[i],
            backward=i % 2 == 1,
            first_frame=first_frame,
        )
        tokens, kept = stage.tokens[0], stage.kept[0].tolist()
        kept_per_stage.append(kept)
    return Result(layer_norm(tokens, weights, f'norm{len(depths) - 1}'), kept_per_stage)
