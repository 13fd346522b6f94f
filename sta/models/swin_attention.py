"""Transformer block of VideoSwin on full and on pruned grids, under the host's parameter names."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from math import ceil, prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from mmaction.models.backbones.swin import Mlp
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.checkpoint import checkpoint

from .prunable import Size


class WindowAttention(nn.Module):
    """Self-attention inside windows with a relative position bias.

    Args:
        embed_dims: channels C.
        window_size: (Wd, Wh, Ww).
        num_heads: heads, each D = C / num_heads wide.
        qkv_bias: whether queries, keys and values have a bias.
        qk_scale: factor on the dot products, default 1 / sqrt(D).
        attn_drop_rate: dropout of attention weights in training.
        drop_rate: dropout of the output in training.
    """

    def __init__(
        self,
        *,
        embed_dims: int,
        window_size: Size,
        num_heads: int,
        qkv_bias: bool,
        qk_scale: float | None,
        attn_drop_rate: float,
        drop_rate: float,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = qk_scale or (embed_dims // num_heads) ** -0.5
        self.attn_drop_rate = attn_drop_rate
        offsets = [2 * size - 1 for size in window_size]
        num_offsets = offsets[0] * offsets[1] * offsets[2]
        self.relative_position_bias_table = nn.Parameter(torch.empty(num_offsets, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.relative_position_index: Tensor
        self.register_buffer('relative_position_index', relative_position_index(window_size))
        self.qkv = nn.Linear(embed_dims, embed_dims * 3, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(drop_rate)

    def forward(
        self, x: Tensor, gather: WindowGather, *, pruned: bool, exact: bool, similarity: str | None
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            x: (B, L, C), normalised tokens.
            gather: how they get into windows and back.
            pruned: whether the grid is filled: then only tokens are projected, not slots.
            exact: the host's operations in the host's order instead of fused attention.
            similarity: 'query', 'key' or 'value' to hand out as well; None for none.

        Returns:
            (B, L, C), and the asked-for vectors averaged over heads (B, L, D) or None.
        """
        batch, length, channels = x.shape
        if pruned:
            qkv = self.qkv(x)
            # The dense model projects zeros where it pads, so padding carries the bias.
            slots = _into_windows(qkv, gather, self.qkv.bias)
        else:
            slots = self.qkv(_into_windows(x, gather, None))
        q, k, v = rearrange(slots, 'w n (three h d) -> three w h n d', three=3, h=self.num_heads)
        attended = self._exact(q, k, v, gather) if exact else self._fused(q, k, v, gather)
        attended = rearrange(attended, 'w h n d -> w n (h d)')
        attended = attended if pruned else self.proj(attended)
        out = attended.reshape(-1, channels).index_select(0, gather.back)
        out = out.view(batch, length, channels)
        out = self.proj_drop(self.proj(out) if pruned else out)
        if similarity not in ('query', 'key', 'value'):
            return out, None
        which = ('query', 'key', 'value').index(similarity)
        if pruned:
            feature = rearrange(qkv, 'b l (three h d) -> three b l h d', three=3, h=self.num_heads)
            return out, feature[which].mean(-2)
        feature = (q, k, v)[which].mean(1).flatten(0, 1).index_select(0, gather.back)
        return out, feature.view(batch, length, -1)

    def _bias(self, num_slots: int) -> Tensor:
        """Relative position bias (H, N, N) of a window of N slots.

        A window clipped to a small grid takes the first N rows and columns, as the host does.
        """
        index = self.relative_position_index[:num_slots, :num_slots].reshape(-1)
        table = self.relative_position_bias_table.t().contiguous()
        return table.index_select(1, index).view(self.num_heads, num_slots, num_slots)

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, gather: WindowGather) -> Tensor:
        """(nW*B, H, N, D) each, windows first; one call for all windows that share a mask."""
        bias = self._bias(q.shape[2]).to(q.dtype)
        # Not len(q), which would fix the batch size of an exported graph.
        batch = q.shape[0] // len(gather.windows.positions)
        outs = []
        for first, last, mask in gather.windows.runs:
            run = slice(first * batch, last * batch)
            outs.append(
                F.scaled_dot_product_attention(
                    q[run],
                    k[run],
                    v[run],
                    attn_mask=(bias if mask is None else bias + mask.to(q.dtype)).unsqueeze(0),
                    dropout_p=self.attn_drop_rate if self.training else 0.0,
                    scale=self.scale,
                )
            )
        return torch.cat(outs) if len(outs) > 1 else outs[0]

    def _exact(self, q: Tensor, k: Tensor, v: Tensor, gather: WindowGather) -> Tensor:
        """(B*nW, H, N, D) each, in the host's order; equal to the host's result to the last bit."""
        weights = (q * self.scale) @ k.transpose(-2, -1)
        weights = _add(weights, self._bias(q.shape[2]))
        mask = gather.windows.mask
        if mask is not None:
            by_clip = weights.unflatten(0, (-1, len(mask)))
            weights = _add(by_clip, mask.unsqueeze(1)).flatten(0, 1)
        weights = F.dropout(weights.softmax(-1), self.attn_drop_rate, self.training)
        return weights.to(v.dtype) @ v  # the mask is float32, whatever the weights are


def _add(weights: Tensor, term: Tensor) -> Tensor:
    """Add in place where that changes neither the type nor the result: these are large."""
    return weights.add_(term) if weights.dtype == term.dtype else weights + term


def _into_windows(x: Tensor, gather: WindowGather, padding: Tensor | None) -> Tensor:
    """Gather tokens (B, L, C) into slots (B*nW, N, C); ``padding`` (C,) or zeros fills pads."""
    if gather.windows.padded:
        row = torch.zeros_like(x[:, :1])
        x = torch.cat([x, row if padding is None else row + padding.to(x.dtype)], dim=1)
    slots = x.flatten(0, 1).index_select(0, gather.rows)
    return slots.view(-1, gather.windows.positions.shape[1], x.shape[-1])


def relative_position_index(window_size: Size) -> Tensor:
    """Row of the bias table for each pair of slots of a window: (N, N) int64."""
    offsets = [2 * size - 1 for size in window_size]
    # On the CPU even where the model is built on the meta device, for which torch imports its
    # compiler to do this.
    places = torch.cartesian_prod(*(torch.arange(size, device='cpu') for size in window_size))
    places = places.view(-1, 3)
    offset = places[:, None] - places[None] + torch.tensor(window_size, device='cpu') - 1
    return (offset[..., 0] * offsets[1] + offset[..., 1]) * offsets[2] + offset[..., 2]


class SwinBlock(nn.Module):
    """Pre-norm block: window attention, then the feed-forward.

    Args:
        embed_dims: channels C.
        num_heads: attention heads.
        window_size: (Wd, Wh, Ww).
        shift_size: cyclic shift of the windows.
        mlp_ratio: hidden width of the feed-forward over C.
        qkv_bias: bias on queries, keys and values.
        qk_scale: factor on the dot products.
        drop_rate: dropout of both branches' outputs.
        attn_drop_rate: dropout of attention weights.
        drop_path_rate: stochastic depth.
        act_cfg: activation of the feed-forward.
        norm_cfg: normalisation layer.
        with_cp: trade time for memory in training.
    """

    def __init__(
        self,
        *,
        embed_dims: int,
        num_heads: int,
        window_size: Size,
        shift_size: Size,
        mlp_ratio: float,
        qkv_bias: bool,
        qk_scale: float | None,
        drop_rate: float,
        attn_drop_rate: float,
        drop_path_rate: float,
        act_cfg: dict[str, Any],
        norm_cfg: dict[str, Any],
        with_cp: bool,
    ) -> None:
        super().__init__()
        self.shift_size = shift_size
        self.with_cp = with_cp
        self.norm1 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.attn = WindowAttention(
            embed_dims=embed_dims,
            window_size=window_size,
            num_heads=num_heads,
            qkv_bias=qkv_bias,
            qk_scale=qk_scale,
            attn_drop_rate=attn_drop_rate,
            drop_rate=drop_rate,
        )
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()
        self.norm2 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.mlp = Mlp(
            in_features=embed_dims,
            hidden_features=int(embed_dims * mlp_ratio),
            act_cfg=act_cfg,
            drop=drop_rate,
        )

    def forward(
        self,
        x: Tensor,
        gather: WindowGather,
        *,
        pruned: bool = False,
        exact: bool = False,
        similarity: str | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Run the block.

        Args:
            x: (B, L, C).
            gather: how the tokens get into windows and back.
            pruned: whether the grid is filled.
            exact: attention with the host's operations instead of the fused kernel.
            similarity: 'query', 'key', 'value' or 'ffn' to hand out as well; None for none.

        Returns:
            (B, L, C), and the asked-for vectors (B, L, D) or None; 'ffn' is the raw output of the
            feed-forward (D = C), before the residual.
        """

        def attend(tokens: Tensor) -> tuple[Tensor, Tensor | None]:
            return self.attn(
                self.norm1(tokens), gather, pruned=pruned, exact=exact, similarity=similarity
            )

        def transform(tokens: Tensor) -> Tensor:
            return self.mlp(self.norm2(tokens))

        again = self.with_cp and torch.is_grad_enabled()
        attended, feature = _recomputed(attend, x) if again else attend(x)
        x = x + self.drop_path(attended)
        transformed = _recomputed(transform, x) if again else transform(x)
        x = x + self.drop_path(transformed)
        return x, transformed if similarity == 'ffn' else feature


def _recomputed(function: Any, x: Tensor) -> Any:
    return checkpoint(function, x, use_reentrant=False)


# What the host adds to attention between tokens that the cyclic shift made neighbours.
MASKED = -100.0


class Windows(NamedTuple):
    """The windows of one grid; nW windows of N slots each.

    Attributes:
        positions: (nW, N) int64 flattened grid position of each slot, T*H*W where it is padding.
        slots: (T*H*W,) int64 window * N + slot of each grid position.
        mask: (nW, N, N) float32, 0 or -100, or None where nothing is shifted.
        runs: (first, last + 1, (N, N) mask or None): windows next to each other with one mask.
        padded: whether any slot is padding.
    """

    positions: Tensor
    slots: Tensor
    mask: Tensor | None
    runs: tuple[tuple[int, int, Tensor | None], ...]
    padded: bool


def clip_window(grid: Size, window: Size, shift: Size) -> tuple[Size, Size]:
    """Window and shift on a grid: an axis no longer than its window is one window, not shifted."""
    whole = [length <= size for length, size in zip(grid, window, strict=True)]
    return (
        triple(g if one else w for g, w, one in zip(grid, window, whole, strict=True)),
        triple(0 if one else s for s, one in zip(shift, whole, strict=True)),
    )


def triple(values: Iterable[int]) -> Size:
    """Three numbers, one for time, rows and columns each."""
    time, rows, columns = values
    return time, rows, columns


def make_windows(
    grid: Size, window: Size, shift: Size, *, by_mask: bool, device: torch.device
) -> Windows:
    """Lay windows over a grid as the host does; a constant to torch.compile and torch.export.

    Args:
        grid: (T, H, W).
        window: (Wd, Wh, Ww) of the model, before clipping to the grid.
        shift: cyclic shift of the model, before clipping.
        by_mask: bring windows with equal masks together; else they are in the host's order.
        device: of the index maps.
    """
    # torch.export runs this on tensors without values, which must not get into the cache.
    with _disable_current_modes():
        return _lay_windows(grid, window, shift, by_mask, device)


# What torch.compiler.assume_constant_result does, which would import dynamo: 2 s of every start.
make_windows._dynamo_marked_constant = True  # type: ignore[attr-defined]


@lru_cache(maxsize=64)
def _lay_windows(
    grid: Size, window: Size, shift: Size, by_mask: bool, device: torch.device
) -> Windows:
    window, shift = clip_window(grid, window, shift)
    padding = [ceil(g / w) * w - g for g, w in zip(grid, window, strict=True)]
    index = torch.arange(prod(grid)).reshape(grid)
    index = F.pad(index, [n for p in reversed(padding) for n in (0, p)], value=prod(grid))
    index = torch.roll(index, [-s for s in shift], dims=(0, 1, 2))
    positions = _partition(index, window)
    mask: Tensor | None = None
    runs: list[tuple[int, int, Tensor | None]] = [(0, len(positions), None)]
    if any(shift):
        # Slots of one region were neighbours before the shift.
        region = _partition(_regions(index.shape, window, shift), window)
        kinds = (region - region[:, :1]).tolist()
        if by_mask:
            order = sorted(range(len(kinds)), key=lambda i: kinds[i])
            positions, region = positions[order], region[order]
            kinds = [kinds[i] for i in order]
        masks = MASKED * (region[:, :, None] != region[:, None, :]).float()
        runs = [
            (run[0], run[-1] + 1, masks[run[0]].to(device) if masks[run[0]].any() else None)
            for run in (
                list(members) for _, members in groupby(range(len(kinds)), key=kinds.__getitem__)
            )
        ]
        mask = masks.to(device)
    flat = positions.flatten()
    slots = torch.empty(prod(grid) + 1, dtype=torch.int64).scatter(0, flat, torch.arange(len(flat)))
    return Windows(
        positions.to(device), slots[:-1].to(device), mask, tuple(runs), padded=any(padding)
    )


def _partition(index: Tensor, window: Size) -> Tensor:
    """(T, H, W) to (nW, N)."""
    d, h, w = window
    return rearrange(index, '(t d) (r h) (c w) -> (t r c) (d h w)', d=d, h=h, w=w)


def _regions(padded: torch.Size, window: Size, shift: Size) -> Tensor:
    """Number the regions that the shift joins, (T, H, W) of the padded and shifted grid."""
    numbers = torch.zeros(padded, dtype=torch.int64)
    for axis, (length, size, moved) in enumerate(zip(padded, window, shift, strict=True)):
        place = torch.arange(length)
        # An axis without shift is one region, as the whole of it is cut by slice(0, None).
        part = (
            (place >= length - size).long() + (place >= length - moved).long()
            if moved
            else place * 0
        )
        numbers = numbers * 3 + part.reshape([-1 if a == axis else 1 for a in range(3)])
    return numbers


class WindowGather(NamedTuple):
    """How the tokens of a batch get into windows and back; L tokens per clip, pads not counted.

    Attributes:
        windows: the windows.
        rows: (B*nW*N,) int64 row of each slot in the flattened tokens (B * (L + padded)), one row
            of padding behind each clip's tokens where there is padding.
        back: (B*L,) int64 slot of each token.
    """

    windows: Windows
    rows: Tensor
    back: Tensor


def gather_of(
    windows: Windows, sources: Tensor, kept: Tensor, *, windows_first: bool
) -> WindowGather:
    """Compose windows with what is left of a grid.

    Args:
        windows: nW windows of N slots.
        sources: (B, T*H*W) int64 token that each grid position shows.
        kept: (B, L) int64 grid position of each token.
        windows_first: order slots by (window, clip), so that windows with one mask lie together;
            else by (clip, window), the host's order.
    """
    batch, length = kept.shape
    num_windows, num_slots = windows.positions.shape
    clip = torch.arange(batch, device=kept.device)[:, None]
    rows = F.pad(sources, (0, 1), value=length)[:, windows.positions.flatten()]
    rows = rows + clip * (length + windows.padded)
    slots = windows.slots[kept]
    if windows_first:
        rows = rearrange(rows, 'b (w n) -> (w b n)', w=num_windows)
        window, slot = slots // num_slots, slots % num_slots
        back = (window * batch + clip) * num_slots + slot
    else:
        rows = rows.flatten()
        back = clip * num_windows * num_slots + slots
    return WindowGather(windows, rows, back.flatten())
