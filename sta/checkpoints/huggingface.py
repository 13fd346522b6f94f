"""Hugging Face's VideoMAE: its names, and its three projections fused into one.

``VideoMAEForVideoClassification`` of transformers. Queries, keys and values have a matrix each; the
biases are called q_bias and v_bias in transformers 4, in whose time the authors' models were
published, and query.bias and value.bias in transformers 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from .errors import CheckpointError

PARTS = ('query', 'key', 'value')  # the order of the rows of qkv.weight
MARK = r'(?:^|\.)encoder\.layer\.\d+\.attention\.attention\.(?:query|key|value)\.'
_BLOCK = r'^(backbone\.blocks\.\d+\.)'
TABLE = (
    (r'^embeddings\.patch_embeddings\.', 'backbone.patch_embed.'),
    (r'^encoder\.layer\.', 'backbone.blocks.'),
    (_BLOCK + r'attention\.attention\.(query|key|value)\.weight$', r'\1attn.\2.weight'),
    (_BLOCK + r'attention\.attention\.(?:query\.bias|q_bias)$', r'\1attn.q_bias'),
    (_BLOCK + r'attention\.attention\.(?:key\.bias|k_bias)$', r'\1attn.k_bias'),
    (_BLOCK + r'attention\.attention\.(?:value\.bias|v_bias)$', r'\1attn.v_bias'),
    (_BLOCK + r'attention\.output\.dense\.', r'\1attn.proj.'),
    (_BLOCK + r'intermediate\.dense\.', r'\1mlp.layers.0.0.'),
    (_BLOCK + r'output\.dense\.', r'\1mlp.layers.1.'),
    (_BLOCK + r'layernorm_before\.', r'\1norm1.'),
    (_BLOCK + r'layernorm_after\.', r'\1norm2.'),
    (r'^fc_norm\.', 'backbone.fc_norm.'),
    (r'^layernorm\.', 'backbone.norm.'),
    (r'^classifier\.', 'cls_head.fc_cls.'),
)


def fuse_attention(
    tensors: Mapping[str, Tensor], where: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Stack the three (C, C) matrices of every block into one qkv.weight (3 C, C).

    A bias of the keys adds the same number to all scores of a query, so a softmax does not see it;
    but STA compares keys to decide what is dropped, and this backbone has no such bias. One that is
    zero is left out, any other refused.

    Args:
        tensors: renamed by TABLE.
        where: file, for messages.

    Returns:
        The tensors with qkv.weight in place of the three, and the names of those left out.

    Raises:
        CheckpointError: one of the three is missing or of another shape or type than the others,
            or a key bias that is not zero.
    """
    fused, left_out = {}, []
    for name, tensor in tensors.items():
        part = re.fullmatch(r'(backbone\.blocks\.\d+\.attn\.)(?:query|key|value)\.weight', name)
        if part:
            whole = f'{part[1]}qkv.weight'
            if whole not in fused:
                fused[whole] = _stacked(tensors, part[1], where)
        elif name.endswith('.attn.k_bias'):
            _refuse_key_bias(name, tensor, where)
            left_out.append(name)
        else:
            fused[name] = tensor
    return fused, tuple(left_out)


def _stacked(tensors: Mapping[str, Tensor], prefix: str, where: str) -> Tensor:
    found = {part: tensors.get(f'{prefix}{part}.weight') for part in PARTS}
    missing = [part for part, tensor in found.items() if tensor is None]
    if missing:
        raise CheckpointError(
            f'{where}: {prefix}qkv.weight cannot be put together, {" and ".join(missing)} missing'
        )
    kinds = {(tuple(tensor.shape), tensor.dtype, tensor.layout) for tensor in found.values()}
    if len(kinds) > 1 or found['query'].dim() != 2:
        shapes = ', '.join(
            f'{part} {tuple(tensor.shape)} {str(tensor.dtype)[6:]}'
            for part, tensor in found.items()
        )
        raise CheckpointError(
            f'{where}: {prefix}qkv.weight cannot be put together from matrices unlike each other: '
            f'{shapes}'
        )
    return torch.cat([found[part] for part in PARTS])


def _refuse_key_bias(name: str, tensor: Tensor, where: str) -> None:
    if bool((tensor != 0).any()):  # NaN is not zero either
        raise CheckpointError(
            f'{where}: {name} is not zero. VideoMAE has no bias on keys; STA would compare other '
            f'keys than those this model was trained with, so it is not left out in silence'
        )
