"""Our VideoSwin without weights, with the structure of somebody's SwinTransformer3D."""

from __future__ import annotations

import copy

import torch
from torch import nn

from sta.models import STASwinTransformer3D

from .errors import HostModelError


def skeleton_of(host: nn.Module) -> STASwinTransformer3D:
    """A STASwinTransformer3D on the meta device, to be run on the host's weights.

    What has no weights (activations, dropout, stochastic depth) and norms, whose epsilon counts,
    are copies of the host's own; scales of attention are the host's numbers.

    Raises:
        HostModelError: names or shapes of the weights differ.
    """
    first = host.layers[0].blocks[0]
    with torch.device('meta'):
        skeleton = STASwinTransformer3D(
            dict(
                embed_dims=host.embed_dims,
                depths=list(host.depths),
                num_heads=list(host.num_heads),
            ),
            pretrained2d=False,
            patch_size=host.patch_size,
            in_channels=host.patch_embed.proj.in_channels,
            window_size=host.window_size,
            mlp_ratio=first.mlp.fc1.out_features / host.embed_dims,
            qkv_bias=first.attn.qkv.bias is not None,
            patch_norm=host.patch_embed.norm is not None,
            out_indices=host.out_indices,
            out_after_downsample=host.out_after_downsample,
        )
    _refuse_other_weights(host, skeleton)
    ours = dict(skeleton.named_modules())
    for name, module in host.named_modules():
        leaf = not any(True for _ in module.children())
        if leaf and name in ours and not isinstance(module, nn.Linear | nn.Conv3d):
            parent, _, child = name.rpartition('.')
            setattr(ours[parent], child, copy.deepcopy(module).to('meta'))
        if name.endswith('.attn'):
            ours[name].scale = module.scale
            ours[name].attn_drop_rate = module.attn_drop.p
    return skeleton.to('meta')


def _refuse_other_weights(host: nn.Module, skeleton: nn.Module) -> None:
    theirs = {name: tuple(tensor.shape) for name, tensor in host.state_dict().items()}
    ours = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    differing = sorted(set(theirs.items()) ^ set(ours.items()))
    if differing:
        raise HostModelError(
            f'{len(differing)} weights of this SwinTransformer3D are not those of mmaction2 1.2, '
            f'such as {differing[0][0]}: merge adapters first, and do not quantise'
        )
