"""GradNorm: how much the loss depends on every token (STA, Eq. 7 and Figure 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sta.models.prunable import PrunableRecognizer

from .places import BlockTokens, TokenGrid, token_grid, tokens_of_blocks


class GradNorm(NamedTuple):
    """GradNorm of a batch.

    Attributes:
        map: (B, T, H, W) float32 on the grid of the first block.
        grid: that grid.
        labels: (B,) int64, the classes of the loss.
        logits: (B, classes) float32.
    """

    map: Tensor
    grid: TokenGrid
    labels: Tensor
    logits: Tensor


def grad_norm(model: PrunableRecognizer, clips: Tensor, labels: Tensor | None = None) -> GradNorm:
    """Sum over blocks and channels of |dLoss / dX|, for every token, X the input of a block.

    The loss is the cross-entropy with ``labels``, or with the class the model predicts. Under
    pruning a token counts in the blocks it lived through. Inputs rather than outputs: where all
    tokens are averaged after the last block, its outputs have equal gradients. In VideoSwin, whose
    later blocks see merged tokens, the share of a merged token is divided evenly between the
    places it covers, so that the sum over a map is the sum over all blocks.

    Args:
        model: a recognizer with a backbone of ours, in evaluation mode, in the variant it has.
        clips: (B, 3, frames, H, W), preprocessed.
        labels: (B,) int64.

    Raises:
        ValueError: the pruner merges: merged tokens have no place of their own.

    Source: Eq. 7.
    """
    backbone = model.backbone
    if backbone.pruner.at_input:
        raise ValueError(f'{type(backbone.pruner).__name__} drops at the input, not in stages')
    if backbone.schedule.active and backbone.pruner.merges:
        raise ValueError(f'{type(backbone.pruner).__name__} merges: its tokens have no places')
    modules = [block for _, block in backbone.blocks_by_level()]
    # Not clips that an inference mode made: autograd refuses to save those.
    with torch.inference_mode(False), torch.enable_grad():
        clips = clips.clone()
        with _watched(modules) as inputs:
            feature, kept = backbone(clips, return_kept=True)
            logits = model.cls_head(feature).float()
        labels = logits.detach().argmax(-1) if labels is None else labels.to(logits.device)
        # A sum, not a mean: a clip's map must not depend on the batch it is in.
        loss = F.cross_entropy(logits, labels, reduction='sum')
        gradients = torch.autograd.grad(loss, inputs)
    tokens = tokens_of_blocks(backbone, kept, clips.shape[1:])
    finest = token_grid(backbone, clips.shape[1:])
    total = _summed(gradients, tokens, finest)
    return GradNorm(total, finest, labels, logits.detach())


@contextmanager
def _watched(blocks: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect what enters the blocks while the context lasts."""
    inputs: list[Tensor] = []

    def watch(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        tokens = arguments[0]
        if not inputs:
            # Gradients begin here, also where nobody wants those of the weights.
            tokens = tokens.detach().requires_grad_()
        inputs.append(tokens)
        return (tokens, *arguments[1:])

    with ExitStack() as stack:
        for block in blocks:
            stack.callback(block.register_forward_pre_hook(watch).remove)
        yield inputs


def _summed(
    gradients: Sequence[Tensor], tokens: Sequence[BlockTokens], finest: TokenGrid
) -> Tensor:
    """Add (B, L, C) gradients up to (B, T, H, W) on the finest grid."""
    batch = len(gradients[0])
    total = torch.zeros(batch, *finest.size, device=gradients[0].device)
    for gradient, (grid, positions) in zip(gradients, tokens, strict=True):
        magnitude = gradient.detach().float().abs().sum(-1)
        if positions is not None:
            places = magnitude.new_zeros(batch, grid.size[0] * grid.size[1] * grid.size[2])
            magnitude = places.scatter_add(1, positions, magnitude)
        total += spread(magnitude.view(batch, *grid.size), finest.size)
    return total


def spread(values: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Divide every value of a coarse grid evenly between the places of a fine one it covers.

    Args:
        values: (B, T, h, w); h and w are H and W halved some number of times, rounded up.
        size: (T, H, W).

    Returns:
        (B, T, H, W) with the same sums.
    """
    for axis, length in ((-2, size[-2]), (-1, size[-1])):
        cell = 1
        while values.shape[axis] != -(-length // cell):
            cell *= 2
        owner = torch.arange(length, device=values.device) // cell
        members = torch.bincount(owner, minlength=values.shape[axis]).to(values.dtype)
        shape = (-1, 1) if axis == -2 else (-1,)
        values = (values / members.view(shape)).index_select(axis, owner)
    return values
