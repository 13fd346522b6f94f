"""One Swin stage: blocks on a full or pruned grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import ModuleList
from torch import Tensor, nn

from .swin_block import SwinBlock
from .swin_grid import Grid
from .windows import Size, WindowGather, gather_of, make_windows


class SwinStage(nn.Module):
    """The blocks of one Swin stage and the patch merging behind them."""

    def __init__(
        self, blocks: Sequence[SwinBlock], window_size: Size, downsample: nn.Module | None
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.blocks = ModuleList(blocks)
        self.downsample = downsample

    def forward(
        self, grid: Grid, *, exact: bool, similarity: str | None
    ) -> tuple[Grid, Tensor | None]:
        """Run the blocks.

        Args:
            grid: full or pruned.
            exact: the host's operations instead of fused attention.
            similarity: what the last block hands out for the next pruning; None for nothing.

        Returns:
            The grid with new tokens, and the last block's vectors (B, L, D) or None.
        """
        tokens, feature = grid.tokens, None
        gathers = {}
        for i, block in enumerate(self.blocks):
            if block.shift_size not in gathers:
                gathers[block.shift_size] = self._gather(grid, block.shift_size, exact)
            is_last = i == len(self.blocks) - 1
            tokens, feature = block(
                tokens,
                gathers[block.shift_size],
                pruned=grid.kept is not None,
                exact=exact,
                similarity=similarity if is_last else None,
            )
        return grid._replace(tokens=tokens), feature

    def _gather(self, grid: Grid, shift: Size, exact: bool) -> WindowGather:
        windows = make_windows(
            grid.size, self.window_size, shift, by_mask=not exact, device=grid.tokens.device
        )
        sources, kept = grid.sources, grid.kept
        if kept is None:
            batch, length = grid.tokens.shape[:2]
            sources = kept = torch.arange(length, device=grid.tokens.device).expand(batch, -1)
        return gather_of(windows, sources, kept, windows_first=not exact)
