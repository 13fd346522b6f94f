"""What pruning before the first block costs: a function of how many tokens a clip keeps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.polynomial import Polynomial
from torch import Tensor, nn

from sta.pruning import Pruner, Variant

from .flops import Recognizer, count_macs


def gflops_of_tokens(
    model: nn.Module, clip_shape: tuple[int, int, int, int]
) -> Callable[[np.ndarray], np.ndarray]:
    """GFLOPs per view of clips that keep so and so many tokens of their input.

    Attention costs the square of the tokens and everything else is proportional to them, so three
    counts determine the cost at every number.

    Args:
        model: with ``backbone`` (that takes pruners which drop at the input) and ``cls_head``.
        clip_shape: (3, frames, H, W) of one view.
    """
    whole = Recognizer(model.backbone, model.cls_head)
    num_tokens = model.backbone.num_tokens(clip_shape)
    counts = np.unique([1, (num_tokens + 1) // 2, num_tokens])
    macs = []
    for count in counts:
        with model.backbone.using(Variant('count', _FirstTokens(int(count)), None)):
            macs.append(count_macs(whole, (1, *clip_shape)))
    return Polynomial.fit(counts, np.array(macs) / 1e9, deg=len(counts) - 1)


class _FirstTokens(Pruner, name=None):
    """A pruner that keeps a given number of tokens, for counting: shapes are all that matters."""

    at_input = True

    def __init__(self, num_tokens: int) -> None:
        self.num_tokens = num_tokens

    def kept_at_input(self, clip: Tensor, grid: tuple[int, int, int]) -> list[Tensor]:
        return [torch.arange(self.num_tokens, device=clip.device) for _ in clip]
