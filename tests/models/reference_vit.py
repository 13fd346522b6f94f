"""VideoMAE's vision transformer with STA stages, slowly, in numpy float64.

Written from the equations, for weights under VideoMAE's own names (`blocks.0.attn.qkv.weight`,
`blocks.0.mlp.fc1.weight`). Shares no code with the package; one clip, head and stage at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tests.pruning import reference, reference_merge

erf = np.vectorize(math.erf, otypes=[np.float64])
Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Stage:
    """One stage: STA by `rules`, settings of the reference of the stage; with `merge`, ToMe."""

    after_block: int
    num_chunks: int
    num_drop: int
    backward: bool = False
    similarity: str = 'key'
    rules: dict[str, str] = field(default_factory=dict)
    merge: bool = False


class Outcome(NamedTuple):
    """Feature (C,), logits (classes,) or None, and each stage's kept indices, of one clip."""

    feature: np.ndarray
    logits: np.ndarray | None
    kept: list[np.ndarray]


def default_stages(
    num_drop: int, *, depth: int, num_frames_tokens: int, similarity: str = 'key', **rules: str
) -> list[Stage]:
    """The paper's schedule: after blocks 0, L//3, 2L//3; T, T/2, T/4 chunks; F, B, F."""
    return [
        Stage(0, num_frames_tokens, num_drop, False, similarity, rules),
        Stage(depth // 3, num_frames_tokens // 2, num_drop, True, similarity, rules),
        Stage(2 * depth // 3, num_frames_tokens // 4, num_drop, False, similarity, rules),
    ]


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6) * weight + bias


def sinusoid(num_positions: int, num_channels: int) -> np.ndarray:
    """sin at even and cos at odd channels of position / 10000^(2 (c // 2) / C)."""
    table = np.empty((num_positions, num_channels))
    for position in range(num_positions):
        for channel in range(num_channels):
            angle = position / 10000.0 ** (2 * (channel // 2) / num_channels)
            table[position, channel] = math.cos(angle) if channel % 2 else math.sin(angle)
    return table


def patch_embed(clip: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Clip (3, F, H, W) -> tokens, frames first, then rows, then columns."""
    _, _, tube, patch_h, patch_w = weight.shape
    _, frames, height, width = clip.shape
    tokens = []
    for t in range(0, frames, tube):
        for y in range(0, height, patch_h):
            for x in range(0, width, patch_w):
                cube = clip[:, t : t + tube, y : y + patch_h, x : x + patch_w]
                tokens.append((weight * cube).sum(axis=(1, 2, 3, 4)) + bias)
    return np.stack(tokens)


def attention(
    x: np.ndarray, weights: Weights, name: str, num_heads: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Output (L, C) of attention; its head-mean queries, keys and values (L, C/heads)."""
    channels = x.shape[1]
    qkv = x @ weights[f'{name}.qkv.weight'].T
    query, key, value = qkv[:, :channels], qkv[:, channels : 2 * channels], qkv[:, 2 * channels :]
    if f'{name}.q_bias' in weights:
        query, value = query + weights[f'{name}.q_bias'], value + weights[f'{name}.v_bias']
    width = channels // num_heads
    heads, sums = [], {kind: np.zeros((len(x), width)) for kind in ('query', 'key', 'value')}
    for head in range(num_heads):
        part = slice(head * width, (head + 1) * width)
        q, k, v = query[:, part], key[:, part], value[:, part]
        logits = q @ k.T / math.sqrt(width)
        shares = np.exp(logits - logits.max(1, keepdims=True))
        heads.append(shares / shares.sum(1, keepdims=True) @ v)
        for kind, part_values in zip(('query', 'key', 'value'), (q, k, v)):
            sums[kind] += part_values / num_heads
    joined = np.concatenate(heads, axis=1)
    return joined @ weights[f'{name}.proj.weight'].T + weights[f'{name}.proj.bias'], sums


def mlp(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    hidden = x @ weights[f'{name}.fc1.weight'].T + weights[f'{name}.fc1.bias']
    hidden = hidden * 0.5 * (1.0 + erf(hidden / math.sqrt(2.0)))
    return hidden @ weights[f'{name}.fc2.weight'].T + weights[f'{name}.fc2.bias']


def block(
    x: np.ndarray, weights: Weights, name: str, num_heads: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Pre-norm block, with LayerScale where the weights have it; also the features to match by."""
    normed = layer_norm(x, weights[f'{name}.norm1.weight'], weights[f'{name}.norm1.bias'])
    attended, features = attention(normed, weights, f'{name}.attn', num_heads)
    x = x + weights.get(f'{name}.gamma_1', 1.0) * attended
    normed = layer_norm(x, weights[f'{name}.norm2.weight'], weights[f'{name}.norm2.bias'])
    features['ffn'] = mlp(normed, weights, f'{name}.mlp')
    return x + weights.get(f'{name}.gamma_2', 1.0) * features['ffn'], features


def run_stage(
    x: np.ndarray, sizes: np.ndarray, features: np.ndarray, stage: Stage
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, kept indices and sizes after one stage of one clip."""
    if stage.merge:
        num_merge = stage.num_chunks * stage.num_drop
        merged = reference_merge.merge_stage(
            x[None], features[None], num_merge=num_merge, sizes=sizes[None]
        )
        return merged.tokens[0], merged.kept[0], merged.sizes[0]
    pruned = reference.prune_stage(
        x[None],
        features[None],
        num_chunks=stage.num_chunks,
        num_drop=stage.num_drop,
        backward=stage.backward,
        **stage.rules,
    )
    return pruned.tokens[0], pruned.kept[0], sizes[pruned.kept[0]]


def forward(clip: np.ndarray, weights: Weights, *, num_heads: int, stages: list[Stage]) -> Outcome:
    """One clip (3, F, H, W) through the whole network."""
    weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    x = patch_embed(
        np.asarray(clip, np.float64),
        weights['patch_embed.proj.weight'],
        weights['patch_embed.proj.bias'],
    )
    x = x + (weights['pos_embed'][0] if 'pos_embed' in weights else sinusoid(*x.shape))
    sizes = np.ones(len(x))
    depth, kept_per_stage = 0, []
    while f'blocks.{depth}.norm1.weight' in weights:
        x, features = block(x, weights, f'blocks.{depth}', num_heads)
        for stage in (stage for stage in stages if stage.after_block == depth):
            x, kept, sizes = run_stage(x, sizes, features[stage.similarity], stage)
            kept_per_stage.append(kept)
        depth += 1
    feature = layer_norm(
        sizes @ x / sizes.sum(), weights['fc_norm.weight'], weights['fc_norm.bias']
    )
    if 'head.weight' not in weights:
        return Outcome(feature, None, kept_per_stage)
    logits = weights['head.weight'] @ feature + weights['head.bias']
    return Outcome(feature, logits, kept_per_stage)
