"""mmaction2's own backbones with the weights of ours, to be compared with."""

from __future__ import annotations

import warnings

from mmaction.models import SwinTransformer3D, VisionTransformer
from torch import nn

from .swin import STASwinTransformer3D
from .vit import STAVisionTransformer


def host_backbone(backbone: STAVisionTransformer | STASwinTransformer3D) -> nn.Module:
    """mmaction2's backbone on the same weights, dtype and device; unpruned.

    Args:
        backbone: ours; both then share no memory.
    """
    build = _swin if isinstance(backbone, STASwinTransformer3D) else _vit
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='torch.meshgrid')  # the host's own call
        host = build(backbone)
    host.load_state_dict(backbone.state_dict())
    parameter = next(backbone.parameters())
    host.to(parameter.device, parameter.dtype)
    host.train(backbone.training)  # SwinTransformer3D.train returns nothing
    return host


def _vit(backbone: STAVisionTransformer) -> nn.Module:
    first = backbone.blocks[0]
    gamma = first.gamma_1
    return VisionTransformer(
        img_size=backbone.img_size,
        patch_size=backbone.patch_size,
        in_channels=backbone.in_channels,
        embed_dims=backbone.embed_dims,
        depth=backbone.depth,
        num_heads=first.attn.num_heads,
        mlp_ratio=first.mlp.layers[1].in_features / backbone.embed_dims,
        qkv_bias=first.attn.q_bias is not None,
        qk_scale=first.attn.scale,
        init_values=0.0 if gamma is None else 1.0,
        use_learnable_pos_emb=isinstance(backbone.pos_embed, nn.Parameter),
        num_frames=backbone.num_frames,
        tubelet_size=backbone.tubelet_size,
        use_mean_pooling=backbone.fc_norm is not None,
        return_feat_map=backbone.return_feat_map,
    )


def _swin(backbone: STASwinTransformer3D) -> nn.Module:
    first = backbone.layers[0].blocks[0]
    return SwinTransformer3D(
        dict(embed_dims=backbone.embed_dims, depths=backbone.depths, num_heads=backbone.num_heads),
        pretrained2d=False,
        patch_size=backbone.patch_size,
        in_channels=backbone.in_channels,
        window_size=backbone.window_size,
        mlp_ratio=first.mlp.fc1.out_features / backbone.embed_dims,
        qkv_bias=first.attn.qkv.bias is not None,
        patch_norm=backbone.patch_embed.norm is not None,
        out_indices=backbone.out_indices,
        out_after_downsample=backbone.out_after_downsample,
    )
