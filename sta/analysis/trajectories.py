"""Trajectory sum: how much of the last frame has been seen before (STA, Eq. 6 and Table 1)."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .places import blocks_of, tokens_of_blocks


def trajectory_sum(keys: Tensor, frames: Tensor, num_frames: int) -> Tensor:
    """Sum over earlier frames of the best cosine similarity, averaged over the last frame's tokens.

    Args:
        keys: (B, L, D), need not be normalised.
        frames: (B, L) int64, frame of each token, 0 to ``num_frames`` - 1.
        num_frames: frames T of the grid.

    Returns:
        (B,) float32, at most T - 1: every token of the last frame has its like in every earlier
        one. A frame without tokens adds 0, there is nothing to be like; where the last frame
        itself has lost all tokens the answer is NaN.

    Raises:
        FloatingPointError: keys are NaN or infinite.

    Source: Eq. 6.
    """
    if not keys.isfinite().all():
        raise FloatingPointError('keys of a trajectory sum are not finite (NaN or infinity)')
    unit = F.normalize(keys.float(), dim=-1)
    similarity = unit @ unit.transpose(1, 2)
    is_last = frames == num_frames - 1
    total = torch.zeros_like(unit[..., 0])
    for frame in range(num_frames - 1):
        others = (frames != frame).unsqueeze(1)
        best = similarity.masked_fill(others, -torch.inf).amax(-1)
        total += best.masked_fill(best.isinf(), 0.0)
    return (total * is_last).sum(-1) / is_last.sum(-1)


@torch.no_grad()
def trajectory_sum_of(backbone: Any, clips: Tensor, *, block: int = -1) -> Tensor:
    """Trajectory sum of the tokens that a backbone has left, in the variant it has.

    The keys are those that pruning compares: of one block, averaged over heads. By default of the
    last block: it lies behind all pruning stages, so every token there has survived them, and it
    is the same block whatever is pruned, so that variants can be compared.

    Args:
        backbone: STAVisionTransformer or STASwinTransformer3D, in evaluation mode.
        clips: (B, 3, frames, H, W), preprocessed.
        block: which block's keys, 0-based, from the end where negative.

    Returns:
        (B,) float32, see :func:`trajectory_sum`; frames are those of the token grid.

    Raises:
        ValueError: the pruner merges: merged tokens belong to no frame.
    """
    if backbone.pruner.at_input:
        raise ValueError(f'{type(backbone.pruner).__name__} drops at the input, not in stages')
    if backbone.schedule.active and backbone.pruner.merges:
        raise ValueError(f'{type(backbone.pruner).__name__} merges: its tokens have no frame')
    module = [module for _, module in blocks_of(backbone)][block]
    seen: list[Tensor] = []

    def watch(called: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        bound = inspect.signature(called.forward).bind(*arguments, **named)
        bound.arguments['similarity'] = 'key'
        # forward, not a call: that would come by here again.
        seen.append(called.forward(*bound.args, **bound.kwargs)[1])

    handle = module.register_forward_pre_hook(watch, with_kwargs=True)
    try:
        _, kept = backbone(clips, return_kept=True)
    finally:
        handle.remove()
    grid, positions = tokens_of_blocks(backbone, kept, clips.shape[1:])[block]
    keys, (frames, rows, columns) = seen[0], grid.size
    if positions is None:
        positions = torch.arange(keys.shape[1], device=keys.device).expand(keys.shape[:2])
    return trajectory_sum(keys, positions // (rows * columns), frames)
