"""mmaction2's own backbone with the weights of ours, to be compared with."""

from __future__ import annotations

from mmaction.models import VisionTransformer
from torch import nn

from .sta_vit import STAVisionTransformer


def host_backbone(backbone: STAVisionTransformer) -> nn.Module:
    """mmaction2's VisionTransformer on the same weights, dtype and device; unpruned.

    Args:
        backbone: ours; both then share no memory.
    """
    first = backbone.blocks[0]
    gamma = first.gamma_1
    host = VisionTransformer(
        img_size=backbone.img_size,
        patch_size=backbone.patch_size,
        in_channels=backbone.patch_embed.projection.in_channels,
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
    host.load_state_dict(backbone.state_dict())
    parameter = next(backbone.parameters())
    return host.to(parameter.device, parameter.dtype).train(backbone.training)
