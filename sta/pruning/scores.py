"""The three quantities of semantic-aware temporal accumulation (STA, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def semantic_importance(tokens: Tensor) -> Tensor:
    """Activation attention map, Eq. 4: sum over channels of |x|, min-max scaled per chunk.

    Args:
        tokens: (..., N, C).

    Returns:
        (..., N) float32 in [0, 1]; 0 everywhere where all tokens weigh the same.
    """
    activation = tokens.float().abs().sum(-1)
    least = activation.amin(-1, keepdim=True)
    spread = activation.amax(-1, keepdim=True) - least
    return (activation - least) / torch.where(spread > 0, spread, torch.ones_like(spread))


def similarity_matrix(current: Tensor, previous: Tensor) -> Tensor:
    """Similarity of every token of a chunk to every token of the previous set.

    Args:
        current: (B, N, D) float32.
        previous: (B, M, D) float32.

    Returns:
        (B, N, M).
    """
    return current @ previous.transpose(-1, -2)


def transition(similarity: Tensor) -> Tensor:
    """Transition matrix, Eq. 2: softmax over the current tokens, so that each column sums to 1.

    Args:
        similarity: (B, N, M), see :func:`similarity_matrix`.
    """
    return similarity.softmax(-2)


def accumulate(step: Tensor, redundancy: Tensor) -> Tensor:
    """Temporal accumulation, Eq. 3: redundancy handed on from the previous set.

    Args:
        step: (B, N, M) transition matrix.
        redundancy: (B, M) of the previous set.

    Returns:
        (B, N).
    """
    # Not a matrix-vector product: its rows may be summed in different orders, and equal tokens
    # would get unequal scores.
    return (step * redundancy.unsqueeze(-2)).sum(-1)


def pruning_score(redundancy: Tensor, importance: Tensor, kind: str) -> Tensor:
    """What tokens are ranked by, Eq. 5; the smallest are kept.

    Args:
        redundancy: (B, N) accumulated redundancy A_t.
        importance: (B, N) semantic importance F_t.
        kind: 'product' A (1 - F), 'temporal' A, or 'semantic' 1 - F.
    """
    if kind == 'product':
        return redundancy * (1 - importance)
    return redundancy if kind == 'temporal' else 1 - importance


def normalise(keys: Tensor) -> Tensor:
    """L2-normalise over the last axis in float32; an all-zero vector stays zero."""
    return F.normalize(keys.float(), dim=-1)
