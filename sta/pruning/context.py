"""What a pruner is told about the clip besides tokens and features, and what it gives back."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class StageContext(NamedTuple):
    """Facts of one pruning stage.

    Attributes:
        stage_index: 0-based number of the stage.
        positions: (B, L) int64, row * W + column of each token in its frame.
        grid_size: (H, W), rows and columns of one frame.
        clip_ids: (B,) int64, see :func:`sta.pruning.randomness.clip_fingerprint`.
        sizes: (B, L) float32, how many input tokens each one stands for; None: one each.
    """

    stage_index: int
    positions: Tensor
    grid_size: tuple[int, int]
    clip_ids: Tensor
    sizes: Tensor | None = None


class StageScores(NamedTuple):
    """What a stage ranked its tokens by, chunks in natural order; for pictures and tests.

    Attributes:
        importance: (T, B, N) float32, semantic importance F, Eq. 4.
        redundancy: T of (B, N) float32, accumulated redundancy A_t of every token of the chunk,
            Eq. 3, before its kept part is handed on; None for the first chunk, which has no past.
        ranked: T of (B, N) float32, the pruning score, Eq. 5, smallest kept; None likewise.
    """

    importance: Tensor
    redundancy: tuple[Tensor | None, ...]
    ranked: tuple[Tensor | None, ...]


class Pruned(NamedTuple):
    """What a pruning stage leaves.

    Attributes:
        tokens: (B, L', C).
        kept: (B, L') int64, the place of each one in the stage's input.
        sizes: (B, L') float32, how many input tokens each one stands for; None: one each.
        scores: what the stage's input was ranked by; None from a pruner without such scores.
    """

    tokens: Tensor
    kept: Tensor
    sizes: Tensor | None = None
    scores: StageScores | None = None


def select_tokens(tokens: Tensor, kept: Tensor) -> Tensor:
    """Gather tokens.

    Args:
        tokens: (B, L, C).
        kept: (B, L') int64.

    Returns:
        (B, L', C).
    """
    return tokens.gather(1, kept.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
