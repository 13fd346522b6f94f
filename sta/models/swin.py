"""VideoSwin that drops tokens where a stage has been merged: the paper's second backbone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import ceil, prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from mmaction.models.backbones.swin import PatchEmbed3D, PatchMerging, SwinTransformer3D
from mmaction.registry import MODELS
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from sta.errors import ScheduleError
from sta.pruning import (
    PruningSchedule,
    fit_to_grids,
    grid_ladder,
    nearest_kept,
    parse_grid_schedule,
    select_tokens,
)
from sta.pruning.stages import StageRun

from .prunable import INIT, ClipShape, PrunableBackbone, Size
from .swin_attention import SwinBlock, WindowGather, gather_of, make_windows, triple


@MODELS.register_module()
class STASwinTransformer3D(PrunableBackbone, BaseModule):
    """VideoSwin with token pruning; mmaction2's SwinTransformer3D when nothing is dropped.

    After each patch merging some tokens of every frame are dropped. Only the kept ones go through
    the projections and feed-forwards of the next stage; for window attention, and for the next
    merging, every dropped position shows its nearest kept token. Liu et al., "Video Swin
    Transformer", CVPR 2022; Ding et al., "STA", ICCV 2023.

    Parameters carry the names of mmaction2's SwinTransformer3D, so its checkpoints load unchanged.

    Args:
        arch: 'tiny', 'small', 'base' or 'large' (or the first letter), or dict(embed_dims=,
            depths=, num_heads=).
        pretrained: file with weights to start from; what does not fit is an error.
        pretrained2d: the file is of an image Swin and is inflated.
        patch_size: frames, rows and columns of a tubelet.
        in_channels: channels of the clip.
        window_size: frames, rows and columns of a window, in tokens.
        mlp_ratio: hidden width of the feed-forward over C.
        qkv_bias: bias on queries, keys and values.
        qk_scale: factor on the dot products, default 1 / sqrt(head width).
        drop_rate: dropout behind the embedding and in the branches.
        attn_drop_rate: dropout of attention weights.
        drop_path_rate: stochastic depth of the last block, growing linearly from 0.
        act_cfg: activation of the feed-forwards.
        norm_cfg: normalisation layers.
        patch_norm: normalise the embedding.
        frozen_stages: stages that do not train: 0 for the embedding, 1 with the first stage, ...
        with_cp: recompute activations in the backward pass, to save memory.
        out_indices: Swin stages whose normalised output is returned; default the last.
        out_after_downsample: return them after the merging; tokens cannot be dropped then.
        schedule: what is dropped: None, an int (the paper's r1 for 224 x 224), a list of drops per
            frame, one for each merging, or a list of dict(after_block=, num_drop=, backward=).
        pruner: how it is chosen, settings of a registered pruner; default
            dict(type='STAPruner', first_frame='tome_rounds', similarity='key', score='product').
        num_frames: frames of the clips that costs are counted for; others run, too.
        img_size: rows and columns of those clips.
        fused_attention: run attention in fused kernels. Default None: where tokens are dropped, so
            that without pruning the result is mmaction2's to the last bit.
        init_cfg: mmengine's initialisation.

    Raises:
        ScheduleError: the schedule does not fit the model.
    """

    # r1 = 320 drops more than half of a 14 x 14 frame: there the released rule ('tome') would cut
    # the bottom of the picture.
    pruner_defaults = {'STAPruner': {'first_frame': 'tome_rounds'}}
    # mmaction2's adds a mask that is float32 whatever its weights are.
    host_needs_autocast = True

    def __init__(
        self,
        arch: str | dict[str, Any] = 'base',
        *,
        pretrained: str | None = None,
        pretrained2d: bool = True,
        patch_size: int | Sequence[int] = (2, 4, 4),
        in_channels: int = 3,
        window_size: Sequence[int] = (8, 7, 7),
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        act_cfg: dict[str, Any] | None = None,
        norm_cfg: dict[str, Any] | None = None,
        patch_norm: bool = True,
        frozen_stages: int = -1,
        with_cp: bool = False,
        out_indices: Sequence[int] | None = None,
        out_after_downsample: bool = False,
        schedule: Any = None,
        pruner: Any = None,
        num_frames: int = 32,
        img_size: int = 224,
        fused_attention: bool | None = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg=list(INIT) if init_cfg is None else init_cfg)
        settings = arch_settings(arch)
        self.embed_dims: int = settings['embed_dims']
        self.depths: tuple[int, ...] = tuple(settings['depths'])
        self.num_heads: tuple[int, ...] = tuple(settings['num_heads'])
        self.num_layers = len(self.depths)
        self.pretrained = pretrained
        self.pretrained2d = pretrained2d
        self.in_channels = in_channels
        self.num_frames = num_frames
        self.img_size = img_size
        self.window_size = _triple(window_size, 'window_size')
        self.patch_size = _triple(patch_size, 'patch_size')
        if out_indices is None:
            out_indices = (self.num_layers - 1,)
        self.out_indices = tuple(out_indices)
        self.out_after_downsample = out_after_downsample
        self.frozen_stages = frozen_stages
        self.fused_attention = fused_attention
        if not self.out_indices or not set(self.out_indices) <= set(range(self.num_layers)):
            raise ValueError(
                f'out_indices must be among 0 to {self.num_layers - 1}, got {out_indices}'
            )
        act_cfg = act_cfg or dict(type='GELU')
        norm_cfg = norm_cfg or dict(type='LN')

        self.patch_embed = PatchEmbed3D(
            patch_size=self.patch_size,
            in_channels=in_channels,
            embed_dims=self.embed_dims,
            norm_cfg=norm_cfg if patch_norm else None,
            conv_cfg=dict(type='Conv3d'),
        )
        self.pos_drop = nn.Dropout(drop_rate)
        num_blocks = sum(self.depths)
        shifted = triple(size // 2 for size in self.window_size)
        self.layers = ModuleList()
        first_block = 0
        for i, depth in enumerate(self.depths):
            blocks = [
                SwinBlock(
                    embed_dims=self.embed_dims * 2**i,
                    num_heads=self.num_heads[i],
                    window_size=self.window_size,
                    shift_size=shifted if j % 2 else (0, 0, 0),
                    mlp_ratio=mlp_ratio,
                    qkv_bias=qkv_bias,
                    qk_scale=qk_scale,
                    drop_rate=drop_rate,
                    attn_drop_rate=attn_drop_rate,
                    drop_path_rate=drop_path_rate * (first_block + j) / max(num_blocks - 1, 1),
                    act_cfg=act_cfg,
                    norm_cfg=norm_cfg,
                    with_cp=with_cp,
                )
                for j in range(depth)
            ]
            first_block += depth
            merging = None
            if i < self.num_layers - 1:
                merging = PatchMerging(embed_dims=self.embed_dims * 2**i, norm_cfg=norm_cfg)
            self.layers.append(SwinStage(blocks, self.window_size, merging))
        for i in self.out_indices:
            merged = out_after_downsample and i < self.num_layers - 1
            self.add_module(
                f'norm{i}', build_norm_layer(norm_cfg, self.embed_dims * 2 ** (i + merged))[1]
            )
        self._freeze_stages()

        self.schedule = PruningSchedule()
        self.set_pruner(pruner or dict(type='STAPruner'))
        self.set_schedule(schedule)

    @property
    def stage_places(self) -> tuple[int, ...]:
        """0-based index of the last block of every Swin stage that is merged."""
        return tuple(end - 1 for end in accumulate(self.depths[:-1]))

    @property
    def cell(self) -> Size:
        """Frames, rows and columns of a tubelet."""
        return self.patch_size

    def blocks_by_level(self) -> list[tuple[int, nn.Module]]:
        """Every block, with the number of its Swin stage from 0."""
        return [(level, block) for level, layer in enumerate(self.layers) for block in layer.blocks]

    def parse_schedule(self, schedule: Any) -> PruningSchedule:
        """Parse a schedule and check what does not depend on the clip.

        Raises:
            ScheduleError: it does not fit this model.
        """
        parsed = parse_grid_schedule(schedule, merged_blocks=self.stage_places)
        if parsed.active and (
            self.out_indices != (self.num_layers - 1,) or self.out_after_downsample
        ):
            raise ScheduleError(
                f'tokens can only be dropped where the last stage alone is returned: '
                f'out_indices=({self.num_layers - 1},) and out_after_downsample=False'
            )
        return parsed

    def check_pruner(self, pruner: Any) -> None:
        """Raise ScheduleError for pruners that merge, or that empty some frames more than others.

        A grid has no place for merged tokens, and its fill counts on as many in every frame.
        """
        if pruner.merges:
            raise ScheduleError(
                f'{type(pruner).__name__} merges tokens, which have no place on the grid of '
                f'{type(self).__name__}: use a pruner that drops, such as STAPruner'
            )
        if not pruner.per_chunk:
            raise ScheduleError(
                f'{type(pruner).__name__} drops more from some frames than from others, but '
                f'{type(self).__name__} needs as many tokens in every frame: use a pruner that '
                f'drops per chunk, such as STAPruner'
            )

    def token_grid(self, clip_shape: ClipShape) -> Size:
        """Frames, rows and columns of tokens of a clip of (3, frames, H, W) pixels."""
        return triple(ceil(n / p) for n, p in zip(clip_shape[1:], self.patch_size, strict=True))

    def num_tokens(self, clip_shape: ClipShape) -> int:
        """Tokens that reach the head when none is dropped: those of the last Swin stage."""
        size = self.token_grid(clip_shape)
        return prod([size, *self._merged_grids(size).values()][-1])

    def tokens_after_stages(self, clip_shape: ClipShape) -> list[int]:
        """Tokens per clip right after each pruning stage; the next merging fills its grid again."""
        grids = self._merged_grids(self.token_grid(clip_shape))
        left = []
        for stage in fit_to_grids(self.schedule, grids).stages:
            frames, rows, columns = grids[stage.after_block]
            left.append(frames * (rows * columns - stage.num_drop))
        return left

    def drop_ladder(self, clip_shape: ClipShape) -> list[int] | list[list[int]]:
        """The paper's r1 = 8, 16, ... where it fits, else drops in the same proportion."""
        grids = self._merged_grids(self.token_grid(clip_shape))
        return grid_ladder([rows * columns for _, rows, columns in grids.values()])

    def build_host(self) -> nn.Module:
        """mmaction2's SwinTransformer3D of the same settings."""
        return SwinTransformer3D(**swin_settings(self))

    def forward(
        self, x: Tensor, return_kept: bool = False
    ) -> Tensor | tuple[Tensor, ...] | tuple[Tensor | tuple[Tensor, ...], list[Tensor]]:
        """Extract features.

        Args:
            x: (B, 3, frames, H, W).
            return_kept: also return the kept indices of each pruning stage.

        Returns:
            (B, C, T, H', W'), or (B, C, T, K, 1) where K tokens of every frame were kept in the
            last stage, in kept order; a tuple of them with several ``out_indices``. With
            ``return_kept`` a pair of that and a list of (B, T*K_i) int64, positions in the full
            T x H x W grid behind the merging.
        """
        embedded = self.pos_drop(self.patch_embed(x))
        size = tuple(embedded.shape[2:])
        grid = Grid(rearrange(embedded, 'b c t h w -> b (t h w) c').contiguous(), size)
        schedule = fit_to_grids(self.schedule, self._merged_grids(size))
        exact = not (schedule.active if self.fused_attention is None else self.fused_attention)
        run = StageRun(schedule, self.pruner, x, size)
        outs = []
        for i, layer in enumerate(self.layers):
            block = sum(self.depths[: i + 1]) - 1
            grid, features = layer(grid, exact=exact, similarity=run.similarity_after(block))
            before = grid
            if layer.downsample is not None:
                grid = merge(grid, layer.downsample)
                run.refilled(grid.size)
            if i in self.out_indices:
                out = grid if self.out_after_downsample else before
                outs.append(feature_map(out, getattr(self, f'norm{i}')))
            features = None if features is None else mean_of_merged(before, features)
            tokens = run.after_block(block, grid.tokens, features)
            if run.drops_after(block):
                kept = run.kept[-1]
                grid = Grid(tokens, grid.size, kept, nearest_kept(kept, grid.size))
        feature = outs[0] if len(outs) == 1 else tuple(outs)
        if return_kept:
            return feature, run.kept
        return feature

    def init_weights(self) -> None:
        """Draw weights, or read them from ``pretrained``.

        Raises:
            ValueError: the file cannot be read, or does not hold the weights of this model.
        """
        super().init_weights()
        if self.pretrained is None:
            return
        weights = read_weights(self.pretrained)
        if self.pretrained2d:
            weights = inflate_swin(
                weights,
                patch_frames=self.patch_size[0],
                window_size=self.window_size,
                last_norm=f'norm{self.out_indices[-1]}',
            )
        own = dict(self.named_parameters())
        wrong = [n for n in own if n not in weights or weights[n].shape != own[n].shape]
        wrong += [n for n in weights if n not in own and 'relative_position_index' not in n]
        if wrong:
            raise ValueError(
                f'pretrained={self.pretrained!r} does not fit: {len(wrong)} weights are missing, '
                f'unknown or of another shape, such as {", ".join(wrong[:3])}'
            )
        self.load_state_dict(weights, strict=False)

    def train(self, mode: bool = True) -> STASwinTransformer3D:
        """Switch to training or evaluation; frozen stages stay in evaluation."""
        super().train(mode)
        self._freeze_stages()
        return self

    def _freeze_stages(self) -> None:
        frozen = [self.patch_embed, self.pos_drop, *self.layers[: max(self.frozen_stages, 0)]]
        for module in frozen if self.frozen_stages >= 0 else []:
            module.eval()
            module.requires_grad_(False)

    def _merged_grids(self, size: Size) -> dict[int, Size]:
        """The grid behind each block that a merging follows."""
        grids = {}
        for block in self.stage_places:
            size = (size[0], ceil(size[1] / 2), ceil(size[2] / 2))
            grids[block] = size
        return grids


def swin_settings(swin: Any) -> dict[str, Any]:
    """The arguments that a VideoSwin was built with, ours or mmaction2's, as both take them.

    Without those that make no weights: dropout, activations, epsilons, scales of attention.
    """
    first = swin.layers[0].blocks[0]
    return dict(
        arch=dict(
            embed_dims=swin.embed_dims, depths=list(swin.depths), num_heads=list(swin.num_heads)
        ),
        pretrained2d=False,
        patch_size=swin.patch_size,
        in_channels=swin.patch_embed.proj.in_channels,
        window_size=swin.window_size,
        mlp_ratio=first.mlp.fc1.out_features / swin.embed_dims,
        qkv_bias=first.attn.qkv.bias is not None,
        patch_norm=swin.patch_embed.norm is not None,
        out_indices=swin.out_indices,
        out_after_downsample=swin.out_after_downsample,
    )


def arch_settings(arch: str | dict[str, Any]) -> dict[str, Any]:
    """Width, depths and heads of an architecture, mmaction2's names for them.

    Raises:
        ValueError: unknown, or not four (at most) stages of both depths and heads.
    """
    known = SwinTransformer3D.arch_zoo
    if isinstance(arch, str):
        if arch.lower() not in known:
            raise ValueError(f'arch must be one of {sorted(known)} or a dict, got {arch!r}')
        return known[arch.lower()]
    keys = {'embed_dims', 'depths', 'num_heads'}
    if not isinstance(arch, dict) or set(arch) != keys:
        raise ValueError(f'arch must be a name or a dict with the keys {sorted(keys)}, got {arch}')
    depths, heads = arch['depths'], arch['num_heads']
    if len(depths) != len(heads) or not 1 <= len(depths) <= 4:
        raise ValueError(
            f'arch needs one to four stages, depths as many as num_heads, got {depths} and {heads}'
        )
    for i, num_heads in enumerate(heads):
        if arch['embed_dims'] * 2**i % num_heads:
            raise ValueError(
                f'arch: width {arch["embed_dims"] * 2**i} of stage {i + 1} is no multiple of '
                f'{num_heads} heads'
            )
    return arch


def _triple(value: int | Sequence[int], name: str) -> Size:
    triple = (value,) * 3 if isinstance(value, int) else tuple(value)
    if len(triple) != 3 or not all(isinstance(n, int) and n > 0 for n in triple):
        raise ValueError(f'{name} must be three whole numbers of at least 1, got {value!r}')
    return triple


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
        if kept is None or sources is None:
            batch, length = grid.tokens.shape[:2]
            sources = kept = torch.arange(length, device=grid.tokens.device).expand(batch, -1)
        return gather_of(windows, sources, kept, windows_first=not exact)


class Grid(NamedTuple):
    """Tokens of a batch on a grid (T, H, W), all of it or what pruning left.

    Attributes:
        tokens: (B, L, C).
        size: (T, H, W).
        kept: (B, L) int64 position of each token, or None where all of the grid is there.
        sources: (B, T*H*W) int64 token that each position shows, or None.
    """

    tokens: Tensor
    size: Size
    kept: Tensor | None = None
    sources: Tensor | None = None

    def filled(self, values: Tensor) -> Tensor:
        """Spread one vector per token (B, L, D) over the grid: (B, T*H*W, D)."""
        return values if self.sources is None else select_tokens(values, self.sources)


def merge(grid: Grid, merging: nn.Module) -> Grid:
    """Fill the grid and merge 2 x 2 neighbours of each frame."""
    frames, rows, _ = grid.size
    filled = grid.filled(grid.tokens)
    merged = merging(rearrange(filled, 'b (t h w) c -> b t h w c', t=frames, h=rows))
    return Grid(merged.flatten(1, 3), tuple(merged.shape[1:4]))


def mean_of_merged(grid: Grid, features: Tensor) -> Tensor:
    """Mean of the (up to 2 x 2) positions that became one token: (B, L, D) to (B, T*h*w, D)."""
    frames, rows, columns = grid.size
    maps = rearrange(
        grid.filled(features), 'b (t h w) d -> (b t) d h w', t=frames, h=rows, w=columns
    )
    maps = F.avg_pool2d(maps.float(), 2, ceil_mode=True, count_include_pad=False)
    return rearrange(maps, '(b t) d h w -> b (t h w) d', t=frames)


def feature_map(grid: Grid, norm: nn.Module) -> Tensor:
    """(B, C, T, H, W), or (B, C, T, K, 1) of a pruned grid."""
    tokens = norm(grid.tokens)
    if grid.kept is not None:
        return rearrange(tokens, 'b (t k) c -> b c t k 1', t=grid.size[0]).contiguous()
    _, rows, columns = grid.size
    return rearrange(tokens, 'b (t h w) c -> b c t h w', h=rows, w=columns).contiguous()


_REMADE = re.compile(r'relative_position_index|attn_mask|^head\.')


def inflate_swin(
    image_weights: Mapping[str, Tensor],
    *,
    patch_frames: int,
    window_size: Size,
    last_norm: str,
) -> dict[str, Tensor]:
    """Turn the weights of an image Swin Transformer into those of a VideoSwin.

    Liu et al., "Video Swin Transformer", CVPR 2022, section 3.3: the embedding is repeated over the
    frames of a tubelet and divided by their number, a position bias is repeated over all distances
    in time.

    Args:
        image_weights: names and tensors of the image model.
        patch_frames: frames of a tubelet.
        window_size: (Wd, Wh, Ww) of the VideoSwin; biases of another (square) window are resized.
        last_norm: what the VideoSwin calls the final norm, e.g. 'norm3'.

    Returns:
        Weights under the names of the VideoSwin; tables that it makes itself and the classifier are
        left out.
    """
    frames, height, width = window_size
    inflated = {}
    for name, tensor in image_weights.items():
        if _REMADE.search(name):
            continue
        if name == 'patch_embed.proj.weight':
            tensor = tensor.unsqueeze(2).repeat(1, 1, patch_frames, 1, 1) / patch_frames
        elif name.endswith('relative_position_bias_table'):
            tensor = _resized(tensor, (2 * height - 1, 2 * width - 1)).repeat(2 * frames - 1, 1)
        elif name.startswith('norm.'):
            name = f'{last_norm}.{name.removeprefix("norm.")}'
        inflated[name] = tensor
    return inflated


def read_weights(path: str) -> dict[str, Tensor]:
    """Tensors of a torch file, bare or below 'model' or 'state_dict'; nothing in it is executed.

    Raises:
        ValueError: it cannot be read as tensors alone.
    """
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # whatever a damaged or foreign file leads to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f'pretrained={path!r} cannot be read: {reason}') from None
    for key in ('model', 'state_dict'):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(tensor, Tensor) for tensor in content.values()
    ):
        raise ValueError(f'pretrained={path!r} holds no state dict')
    return {name.removeprefix('backbone.'): tensor for name, tensor in content.items()}


def _resized(table: Tensor, size: tuple[int, int]) -> Tensor:
    """A table of relative positions (rows, heads) for a window of another size."""
    side = math.isqrt(len(table))
    if side * side != len(table) or len(table) == size[0] * size[1]:
        return table
    maps = table.t().reshape(1, -1, side, side)
    maps = F.interpolate(maps, size=size, mode='bicubic')
    return maps.flatten(2).squeeze(0).t()
