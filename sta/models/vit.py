"""VideoMAE's vision transformer that drops tokens between its blocks."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from mmaction.models import VisionTransformer
from mmaction.registry import MODELS
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from sta.errors import ScheduleError
from sta.pruning import PruningSchedule
from sta.pruning.stages import StageRun

from .prunable import INIT, ClipShape, PrunableBackbone, Size, shape_of


@MODELS.register_module()
class STAVisionTransformer(PrunableBackbone, BaseModule):
    """VideoMAE's ViT with token pruning; mmaction2's VisionTransformer when nothing is dropped.

    Parameters carry the names of mmaction2's VisionTransformer, so its checkpoints load unchanged;
    attention is fused. Tong et al., "VideoMAE", NeurIPS 2022; Ding et al., "STA", ICCV 2023.

    Args:
        img_size: rows and columns of the clips the position embedding is made for.
        patch_size: rows and columns of a tubelet.
        in_channels: channels of the clip.
        embed_dims: channels C of a token.
        depth: number of blocks.
        num_heads: attention heads per block.
        mlp_ratio: hidden width of the feed-forward over C.
        qkv_bias: bias on queries and values.
        qk_scale: factor on the dot products, default 1 / sqrt(head width).
        drop_rate: dropout after the position embedding and in the branches.
        attn_drop_rate: dropout of attention weights.
        drop_path_rate: stochastic depth of the last block, growing linearly from 0.
        norm_cfg: normalisation layers.
        init_values: initial LayerScale; 0 for none.
        use_learnable_pos_emb: learn the position embedding instead of the sine table.
        num_frames: frames of a clip.
        tubelet_size: frames of a tubelet.
        use_mean_pooling: mean over tokens, then norm; else norm, then the first token.
        return_feat_map: return (B, C, T, H, W) instead of one vector.
        schedule: what is dropped: None, an int (the paper's r), a list of ints (drops per chunk at
            the default places) or a list of dict(after_block=, num_chunks=, num_drop=, backward=).
        pruner: how it is chosen, settings of a registered pruner;
            default dict(type='STAPruner', first_frame='tome', similarity='key', score='product').
        init_cfg: mmengine's initialisation.

    Raises:
        ScheduleError: the schedule does not fit the model.
    """

    def __init__(
        self,
        *,
        img_size: int = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        embed_dims: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        norm_cfg: dict[str, Any] | None = None,
        init_values: float = 0.0,
        use_learnable_pos_emb: bool = False,
        num_frames: int = 16,
        tubelet_size: int = 2,
        use_mean_pooling: bool = True,
        return_feat_map: bool = False,
        schedule: Any = None,
        pruner: Any = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg=list(INIT) if init_cfg is None else init_cfg)
        for name, value in (
            ('img_size', img_size),
            ('patch_size', patch_size),
            ('embed_dims', embed_dims),
            ('depth', depth),
            ('num_heads', num_heads),
            ('num_frames', num_frames),
            ('tubelet_size', tubelet_size),
        ):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f'{name} must be a whole number of at least 1, got {value!r}')
        if img_size % patch_size or num_frames % tubelet_size:
            raise ValueError(
                f'img_size {img_size} must be a multiple of patch_size {patch_size}, and '
                f'num_frames {num_frames} of tubelet_size {tubelet_size}'
            )
        norm_cfg = norm_cfg or dict(type='LN', eps=1e-6)
        self.in_channels = in_channels
        self.embed_dims = embed_dims
        self.depth = depth
        self.patch_size = patch_size
        self.tubelet_size = tubelet_size
        self.num_frames = num_frames
        self.img_size = img_size
        side = img_size // patch_size
        self.grid = (num_frames // tubelet_size, side, side)
        self.return_feat_map = return_feat_map

        self.patch_embed = TubeletEmbed(
            in_channels=in_channels,
            embed_dims=embed_dims,
            tubelet_size=tubelet_size,
            patch_size=patch_size,
        )
        num_patches = self.grid[0] * side * side
        if use_learnable_pos_emb:
            self.pos_embed = nn.Parameter(torch.zeros(1, num_patches, embed_dims))
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        else:
            self.register_buffer('pos_embed', sine_table(num_patches, embed_dims))
        self.pos_drop = nn.Dropout(drop_rate)
        self.blocks = ModuleList(
            Block(
                embed_dims=embed_dims,
                num_heads=num_heads,
                mlp_ratio=mlp_ratio,
                qkv_bias=qkv_bias,
                qk_scale=qk_scale,
                drop_rate=drop_rate,
                attn_drop_rate=attn_drop_rate,
                drop_path_rate=drop_path_rate * i / max(depth - 1, 1),
                init_values=init_values,
                norm_cfg=norm_cfg,
            )
            for i in range(depth)
        )
        self.norm = nn.Identity()
        self.fc_norm = None
        if use_mean_pooling:
            self.fc_norm = build_norm_layer(norm_cfg, embed_dims)[1]
        else:
            self.norm = build_norm_layer(norm_cfg, embed_dims)[1]

        self.schedule = PruningSchedule()
        self.set_pruner(pruner or dict(type='STAPruner'))
        self.set_schedule(schedule)

    def parse_schedule(self, schedule: Any, grid: Size | None = None) -> PruningSchedule:
        """Parse a schedule and check it against this model's token grid, or another one.

        Raises:
            ScheduleError: it does not fit.
        """
        frames, rows, columns = grid or self.grid
        parsed = PruningSchedule.parse(
            schedule,
            depth=self.depth,
            num_frames_tokens=frames,
            tokens_per_frame=rows * columns,
        )
        if parsed.active:
            self._check_pooled()
        return parsed

    def check_pruner(self, pruner: Any) -> None:
        """Raise ScheduleError for dropping at the input where the kept tokens are not pooled."""
        if pruner.at_input:
            self._check_pooled()

    def _check_pooled(self) -> None:
        if self.fc_norm is None or self.return_feat_map:
            raise ScheduleError(
                'tokens can only be dropped where the kept ones are pooled: '
                'use_mean_pooling=True and return_feat_map=False'
            )

    @property
    def cell(self) -> Size:
        """Frames, rows and columns of a tubelet."""
        return self.tubelet_size, self.patch_size, self.patch_size

    @property
    def decay_layers(self) -> int:
        """The blocks."""
        return self.depth

    def blocks_by_level(self) -> list[tuple[int, nn.Module]]:
        """Every block; nothing is merged before any."""
        return [(0, block) for block in self.blocks]

    def token_grid(self, clip_shape: ClipShape) -> Size:
        """Frames, rows and columns of tokens of a clip of (3, frames, H, W) pixels."""
        _, frames, height, width = clip_shape
        return frames // self.tubelet_size, height // self.patch_size, width // self.patch_size

    def num_tokens(self, clip_shape: ClipShape) -> int:
        """Tokens that reach the head when none is dropped, for a clip of (3, frames, H, W)."""
        return prod(self.token_grid(clip_shape))

    def tokens_after_stages(self, clip_shape: ClipShape) -> list[int]:
        """Tokens per clip left after each pruning stage, for a clip of (3, frames, H, W)."""
        return self.schedule.tokens_after_stages(self.num_tokens(clip_shape))

    def drop_ladder(self, clip_shape: ClipShape) -> list[int]:
        """The paper's r = 1, 2, ... as far as it goes, for a clip of (3, frames, H, W)."""
        grid, ladder = self.token_grid(clip_shape), []
        for num_drop in range(1, grid[1] * grid[2]):
            try:
                self.parse_schedule(num_drop, grid)
            except ScheduleError:
                break
            ladder.append(num_drop)
        return ladder

    def build_host(self) -> nn.Module:
        """mmaction2's VisionTransformer of the same settings."""
        first = self.blocks[0]
        return VisionTransformer(
            img_size=self.img_size,
            patch_size=self.patch_size,
            in_channels=self.in_channels,
            embed_dims=self.embed_dims,
            depth=self.depth,
            num_heads=first.attn.num_heads,
            mlp_ratio=first.mlp.layers[1].in_features / self.embed_dims,
            qkv_bias=first.attn.q_bias is not None,
            qk_scale=first.attn.scale,
            init_values=0.0 if first.gamma_1 is None else 1.0,
            use_learnable_pos_emb=isinstance(self.pos_embed, nn.Parameter),
            num_frames=self.num_frames,
            tubelet_size=self.tubelet_size,
            use_mean_pooling=self.fc_norm is not None,
            return_feat_map=self.return_feat_map,
        )

    def forward(self, x: Tensor, return_kept: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Extract features.

        Args:
            x: (B, 3, frames, H, W).
            return_kept: also return the kept indices of each stage.

        Returns:
            (B, C), or (B, C, T, H', W') with return_feat_map; with ``return_kept`` a pair of that
            and a list of (B, L_i) int64, each into the input of its stage; where clips keep
            different numbers of tokens, -1 stands behind the last.
        """
        tokens, grid = self._embed(x)
        if self.pruner.at_input:
            feature, kept = self._run_clip_by_clip(tokens, grid, x)
        else:
            tokens, sizes, kept = self._run_blocks(tokens, grid, x)
            feature = self._pool(self.norm(tokens), sizes, grid)
        return (feature, kept) if return_kept else feature

    def kept_at_input(self, x: Tensor) -> list[Tensor]:
        """Tokens that a pruner which drops at the input leaves of clips (B, 3, frames, H, W).

        Returns:
            (L_i,) int64 places in the T * H' * W' tokens for each clip.
        """
        grid = self.token_grid(shape_of(x))
        # The embedding ignores pixels beyond the last whole patch.
        height, width = (size * self.patch_size for size in grid[1:])
        return self.pruner.kept_at_input(x[..., :height, :width], grid)

    def _run_clip_by_clip(
        self, tokens: Tensor, grid: Size, clip: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """As many tokens as each clip keeps: the pooled (B, C) and what was kept, one stage."""
        kept = self.kept_at_input(clip)
        features = []
        for i, places in enumerate(kept):
            left, _, _ = self._run_blocks(tokens[i : i + 1, places], grid, clip[i : i + 1])
            features.append(self._pool(self.norm(left), None, grid))
        return torch.cat(features), [pad_sequence(kept, batch_first=True, padding_value=-1)]

    def _embed(self, clip: Tensor) -> tuple[Tensor, Size]:
        """(B, 3, frames, H, W) to (B, T*H'*W', C) with positions added."""
        if clip.dim() != 5 or clip.shape[2] != self.num_frames:
            raise ValueError(
                f'expected clips of shape (B, 3, {self.num_frames}, H, W), got {tuple(clip.shape)}'
            )
        tokens = self.patch_embed(clip)
        grid = tokens.shape[1], tokens.shape[2], tokens.shape[3]
        table: Tensor = self.pos_embed
        if grid != self.grid:
            table = table.reshape(*self.grid, -1).permute(0, 3, 1, 2)
            table = F.interpolate(table, size=grid[1:], mode='bicubic', align_corners=False)
            table = table.permute(0, 2, 3, 1).reshape(1, -1, self.embed_dims)
        return self.pos_drop(tokens.flatten(1, 3) + table), grid

    def _run_blocks(
        self, tokens: Tensor, grid: Size, clip: Tensor
    ) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """Blocks and pruning stages; tokens (B, L, C) to (B, L', C), their sizes, kept indices."""
        if grid != self.grid:
            self.parse_schedule(self.schedule, grid)  # refuses one that does not fit this clip
        run = StageRun(self.schedule, self.pruner, clip, grid)
        for number, block in enumerate(self.blocks):
            tokens, features = block(tokens, run.similarity_after(number))
            tokens = run.after_block(number, tokens, features)
        return tokens, run.sizes, run.kept

    def _pool(self, tokens: Tensor, sizes: Tensor | None, grid: Size) -> Tensor:
        if self.return_feat_map:
            return tokens.unflatten(1, grid).permute(0, 4, 1, 2, 3)
        if self.fc_norm is None:
            return tokens[:, 0]
        if sizes is None:
            return self.fc_norm(tokens.mean(1))
        # Merged tokens count as often as the tokens they were made of.
        weights = (sizes / sizes.sum(1, keepdim=True)).unsqueeze(-1)
        return self.fc_norm((tokens * weights).sum(1).to(tokens.dtype))


class Attention(nn.Module):
    """Multi-head self-attention with biases on queries and values only.

    Args:
        embed_dims: channels C.
        num_heads: heads, each C / num_heads wide.
        qkv_bias: whether queries and values have a bias (VideoMAE's keys have none).
        qk_scale: factor on the dot products, default 1 / sqrt(head width).
        attn_drop_rate: dropout of attention weights in training.
        drop_rate: dropout of the output in training.
    """

    def __init__(
        self,
        *,
        embed_dims: int,
        num_heads: int,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop_rate: float = 0.0,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(f'embed_dims {embed_dims} is no multiple of num_heads {num_heads}')
        self.num_heads = num_heads
        self.scale = qk_scale or (embed_dims // num_heads) ** -0.5
        self.attn_drop_rate = attn_drop_rate
        self.q_bias = nn.Parameter(torch.zeros(embed_dims)) if qkv_bias else None
        self.v_bias = nn.Parameter(torch.zeros(embed_dims)) if qkv_bias else None
        self.qkv = nn.Linear(embed_dims, embed_dims * 3, bias=False)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(drop_rate)

    def forward(self, x: Tensor, similarity: str | None = None) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            x: (B, L, C).
            similarity: 'query', 'key' or 'value' to hand out as well, or 'key_and_sharpness';
                None for none.

        Returns:
            (B, L, C), and the asked-for vectors averaged over heads (B, L, D) or None. Sharpness
            comes behind the keys, (B, L, D + 1).
        """
        bias = None
        if self.q_bias is not None and self.v_bias is not None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias)
        q, k, v = rearrange(qkv, 'b l (three h d) -> three b h l d', three=3, h=self.num_heads)
        out = F.scaled_dot_product_attention(
            q, k, v, dropout_p=self.attn_drop_rate if self.training else 0.0, scale=self.scale
        )
        parts = {'query': q, 'key': k, 'value': v, 'key_and_sharpness': k}
        feature = parts[similarity].mean(1) if similarity in parts else None
        if feature is not None and similarity == 'key_and_sharpness':
            feature = torch.cat([feature, sharpness(q, k, self.scale).to(feature)], dim=-1)
        return self.proj_drop(self.proj(rearrange(out, 'b h l d -> b l (h d)'))), feature


@torch.no_grad()
def sharpness(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """How sharply every token attends: the negative entropy of attention averaged over heads.

    Fused attention does not hand out its weights, so they are computed here, a head at a time.

    Args:
        query: (B, H, L, D).
        key: (B, H, L, D).
        scale: factor on the dot products.

    Returns:
        (B, L, 1) float32, from -log(L) for even attention to 0 for a single token.
    """
    heads = zip(query.float().unbind(1), key.float().unbind(1), strict=True)
    total = sum((q @ k.transpose(-1, -2) * scale).softmax(-1) for q, k in heads)
    return -torch.special.entr(total / query.shape[1]).sum(-1, keepdim=True)


class FeedForward(nn.Module):
    """Two linear layers with GELU between; nested as in mmcv's FFN for the sake of its names."""

    def __init__(self, *, embed_dims: int, hidden_dims: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Sequential(nn.Linear(embed_dims, hidden_dims), nn.GELU(), nn.Dropout(drop_rate)),
            nn.Linear(hidden_dims, embed_dims),
            nn.Dropout(drop_rate),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, C) to (B, L, C)."""
        return self.layers(x)


class Block(nn.Module):
    """Pre-norm transformer block, optionally with LayerScale.

    Args:
        embed_dims: channels C.
        num_heads: attention heads.
        mlp_ratio: hidden width of the feed-forward over C.
        qkv_bias: bias on queries and values.
        qk_scale: factor on the dot products.
        drop_rate: dropout of both branches' outputs.
        attn_drop_rate: dropout of attention weights.
        drop_path_rate: stochastic depth.
        init_values: initial LayerScale; 0 for none.
        norm_cfg: normalisation layer.
    """

    def __init__(
        self,
        *,
        embed_dims: int,
        num_heads: int,
        mlp_ratio: float,
        qkv_bias: bool,
        qk_scale: float | None,
        drop_rate: float,
        attn_drop_rate: float,
        drop_path_rate: float,
        init_values: float,
        norm_cfg: dict[str, Any],
    ) -> None:
        super().__init__()
        self.norm1 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.attn = Attention(
            embed_dims=embed_dims,
            num_heads=num_heads,
            qkv_bias=qkv_bias,
            qk_scale=qk_scale,
            attn_drop_rate=attn_drop_rate,
            drop_rate=drop_rate,
        )
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 0 else nn.Identity()
        self.norm2 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.mlp = FeedForward(
            embed_dims=embed_dims, hidden_dims=int(embed_dims * mlp_ratio), drop_rate=drop_rate
        )
        self.gamma_1 = self.gamma_2 = None
        if init_values > 0:
            self.gamma_1 = nn.Parameter(torch.full((embed_dims,), float(init_values)))
            self.gamma_2 = nn.Parameter(torch.full((embed_dims,), float(init_values)))

    def forward(self, x: Tensor, similarity: str | None = None) -> tuple[Tensor, Tensor | None]:
        """Run the block.

        Args:
            x: (B, L, C).
            similarity: 'query', 'key', 'value', 'key_and_sharpness' or 'ffn' to hand out as well;
                None for none.

        Returns:
            (B, L, C), and the asked-for vectors (B, L, D) or None; 'ffn' is the raw output of the
            feed-forward (D = C), before LayerScale and the residual.
        """
        attended, feature = self.attn(self.norm1(x), similarity)
        x = x + self.drop_path(_scaled(attended, self.gamma_1))
        transformed = self.mlp(self.norm2(x))
        x = x + self.drop_path(_scaled(transformed, self.gamma_2))
        return x, transformed if similarity == 'ffn' else feature


def _scaled(x: Tensor, gamma: Tensor | None) -> Tensor:
    return x if gamma is None else gamma * x


class TubeletEmbed(nn.Module):
    """Tubelets to tokens: a Conv3d whose stride is its kernel.

    Args:
        in_channels: channels of the clip.
        embed_dims: channels C of a token.
        tubelet_size: frames of a tubelet.
        patch_size: rows and columns of a tubelet.
    """

    def __init__(
        self, *, in_channels: int, embed_dims: int, tubelet_size: int, patch_size: int
    ) -> None:
        super().__init__()
        kernel = (tubelet_size, patch_size, patch_size)
        self.projection = nn.Conv3d(in_channels, embed_dims, kernel, stride=kernel)

    def forward(self, clip: Tensor) -> Tensor:
        """Map (B, 3, frames, H, W) to (B, T, H / patch, W / patch, C)."""
        return self.projection(clip).permute(0, 2, 3, 4, 1)


def sine_table(num_positions: int, embed_dims: int) -> Tensor:
    """Fixed sine-cosine position table of VideoMAE.

    Computed as the host does, in the same order and precision, so that tables agree to the bit.

    Args:
        num_positions: tokens of a clip.
        embed_dims: channels C.

    Returns:
        (1, num_positions, C) float32.
    """
    channel = torch.arange(embed_dims, dtype=torch.float64)
    frequency = torch.pow(10000, -(channel - channel % 2) / embed_dims)
    angle = torch.arange(num_positions, dtype=torch.float64)[:, None] * frequency
    table = torch.where(torch.arange(embed_dims) % 2 == 0, angle.sin(), angle.cos())
    return table.float().unsqueeze(0)
