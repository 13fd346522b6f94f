"""One renaming table per source of checkpoints, onto the names of mmaction2's recognizers.

Whatever wrappers and prefixes stand in front of the names, or between their parts, is taken away
first. What the tables leave is compared with the model name by name, so a prefix that was taken
away wrongly can only lead to a refusal.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from sta.errors import CheckpointError

from .errors import listed, several_models
from .hints import foreign_model

Tensors = dict[str, Tensor]


# VideoMAEForVideoClassification of transformers. Queries, keys and values have a matrix each; the
# biases are called q_bias and v_bias in transformers 4, in whose time the authors' models were
# published, and query.bias and value.bias in transformers 5.
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
    names = {part: f'{prefix}{part}.weight' for part in PARTS}
    missing = [part for part, name in names.items() if name not in tensors]
    if missing:
        raise CheckpointError(
            f'{where}: {prefix}qkv.weight cannot be put together, {" and ".join(missing)} missing'
        )
    found = {part: tensors[name] for part, name in names.items()}
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


class Naming(NamedTuple):
    """How one source names its parameters.

    Attributes:
        source: what to call it in reports.
        mark: a regular expression that only its names match.
        block: how a name inside a block begins, behind any prefix.
        table: (pattern, replacement), the first match of each is applied in turn.
        fuse: puts together what the source keeps apart, after renaming; gives the tensors and the
            names of those it left out.
    """

    source: str
    mark: str
    block: str
    table: tuple[tuple[str, str], ...]
    fuse: Callable[[Mapping[str, Tensor], str], tuple[Tensors, tuple[str, ...]]] | None = None


class Translation(NamedTuple):
    """A state dict under mmaction2's names.

    Attributes:
        source: whose names it had.
        tensors: named 'backbone.*' and 'cls_head.*'.
        left_out: names of tensors that are of no use, such as biases that are zero by design.
    """

    source: str
    tensors: Tensors
    left_out: tuple[str, ...] = ()


# What DistributedDataParallel, torch.compile, FSDP, activation checkpointing, Lightning and Opacus
# put in front of a module's name, at any depth: no known naming has such parts of its own.
_WRAPPER = re.compile(r'(?:^|(?<=\.))(?:module|_\w*mod(?:ule)?)\.')
# What averaged models count beside their weights: one number each.
_COUNTERS = ('decay', 'initted', 'n_averaged', 'num_updates', 'step', 'steps')

_VIT_BLOCK = r'blocks\.\d+\.(?:attn|mlp|norm[12]|gamma_[12])\b'
_VIDEOMAE_TABLE = (
    (r'^patch_embed\.proj\.', 'backbone.patch_embed.projection.'),
    (r'^(blocks\.\d+\.)mlp\.fc1\.', r'backbone.\1mlp.layers.0.0.'),
    (r'^(blocks\.\d+\.)mlp\.fc2\.', r'backbone.\1mlp.layers.1.'),
    (r'^(blocks\.|fc_norm\.|norm\.|pos_embed$)', r'backbone.\1'),
    (r'^head\.', 'cls_head.fc_cls.'),
)
_MMACTION2_TABLE = ((r'^(patch_embed\.|blocks\.|fc_norm\.|norm\.|pos_embed$)', r'backbone.\1'),)
_VIDEOSWIN_TABLE = (
    (r'^(patch_embed\.|layers\.|norm\d?\.)', r'backbone.\1'),
    # The authors' model ends in one norm; mmaction2's has one per stage that it returns.
    (r'^backbone\.norm\.', 'backbone.norm3.'),
)

NAMINGS = (
    Naming(
        'VideoSwin (its authors or mmaction2)',
        r'layers\.\d+\.blocks\.\d+\.attn\.relative_position_bias_table',
        r'layers\.\d+\.(?:blocks\.\d+\.(?:attn|mlp|norm[12])|downsample)\.',
        _VIDEOSWIN_TABLE,
    ),
    Naming(
        'VideoMAE (Hugging Face)',
        MARK,
        r'encoder\.layer\.\d+\.',
        TABLE,
        fuse=fuse_attention,
    ),
    Naming(
        'VideoMAE (authors of VideoMAE and STA)',
        r'blocks\.\d+\.mlp\.fc1\.',
        _VIT_BLOCK,
        _VIDEOMAE_TABLE,
    ),
    Naming('mmaction2', r'blocks\.\d+\.mlp\.layers\.', _VIT_BLOCK, _MMACTION2_TABLE),
)


def translate(state_dict: Mapping[str, Tensor], where: str) -> Translation:
    """Recognise whose names a state dict has and give its tensors mmaction2's.

    Args:
        state_dict: names as in the file.
        where: file, for messages.

    Raises:
        CheckpointError: names of no known kind, two tensors of one name, several models, or parts
            that do not fit together.
    """
    given = unwrapped(state_dict, where)
    naming = recognise(given)
    if naming is None:
        raise CheckpointError(
            f'{where}: its names ({listed(sorted(state_dict), 4)}) are of no known kind; known are '
            f'the authors of VideoMAE, STA and VideoSwin, and mmaction2, and Hugging Face VideoMAE'
            f'{foreign_model(state_dict)}'
        )
    front = _front(given, naming, where)
    counters = tuple(n for n, t in given.items() if _is_counter(n, t))
    weights = {name: t for name, t in given.items() if name not in counters}
    tensors = rename(weights, naming, where, front)
    if naming.fuse is None:
        return Translation(naming.source, tensors, counters)
    try:
        fused, left_out = naming.fuse(tensors, where)
    except CheckpointError as error:  # of an image model most often, which says more
        raise CheckpointError(f'{error}{foreign_model(state_dict)}') from None
    return Translation(naming.source, fused, (*left_out, *counters))


def unwrapped(state_dict: Mapping[str, Tensor], where: str) -> Tensors:
    """Take away what wrappers of modules put into names: 'module.', '_orig_mod.' and the like.

    Raises:
        CheckpointError: two tensors would get one name.
    """
    return _renamed(state_dict, lambda name: _WRAPPER.sub('', name), where)


def _front(tensors: Mapping[str, Tensor], naming: Naming, where: str) -> str:
    """What stands in front of the names of all blocks: '', 'model.', 'net.encoder.', ...

    Raises:
        CheckpointError: different things do, as in a file of a student and its teacher.
    """
    pattern = re.compile(rf'((?:[^.]+\.)*?){naming.block}')
    found = {name: match[1] for name in tensors if (match := pattern.match(name))}
    # The decoder of a pre-training is no second model; it is refused or left out by name.
    fronts = Counter(f for f in found.values() if 'decoder' not in f.split('.'))
    if len(fronts) == 1:
        return next(iter(fronts))
    if not fronts:
        return ''
    inner = [(name.removeprefix(front), name) for name, front in found.items() if front in fronts]
    names = {core: name for core, name in reversed(inner)}
    twice = next(((names[core], name) for core, name in inner if names[core] != name), None)
    raise several_models(
        where,
        [_start_of(front, fronts) for front in sorted(fronts, key=lambda f: -len(f))],
        f' ({" and ".join(listed([name]) for name in twice)} are one weight)' if twice else '',
    )


def _start_of(front: str, fronts: Collection[str]) -> str:
    """As much of a front as tells it from the others: heads share no more of it."""
    segments = front.split('.')[:-1]
    starts = ['.'.join(segments[: i + 1]) + '.' for i in range(len(segments))]
    others = [other for other in fronts if other != front]
    alone = (start for start in starts if not any(o.startswith(start) for o in others))
    return next(alone, front) or 'those without a prefix'


def _behind(front: str, name: str) -> str:
    """A name without as much of the front as it shares: 'model.' of 'model.head.bias'."""
    for segment in front.split('.')[:-1]:
        if not name.startswith(f'{segment}.'):
            break
        name = name[len(segment) + 1 :]
    return name


def _is_counter(name: str, tensor: Tensor) -> bool:
    return name.rpartition('.')[2] in _COUNTERS and tensor.numel() == 1


def _renamed(tensors: Mapping[str, Tensor], rule: Callable[[str], str], where: str) -> Tensors:
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        new = rule(name)
        if new in renamed:
            raise CheckpointError(f'{where}: two tensors are both called {listed([new])}')
        renamed[new] = tensor
    return renamed


def recognise(names: Mapping[str, Tensor]) -> Naming | None:
    """The naming a state dict follows, or None."""
    for naming in NAMINGS:
        if any(re.search(naming.mark, name) for name in names):
            return naming
    return None


def rename(
    state_dict: Mapping[str, Tensor], naming: Naming, where: str, front: str = ''
) -> Tensors:
    """Rename every tensor onto 'backbone.*' and 'cls_head.*'.

    Args:
        state_dict: names without wrappers.
        naming: whose they are.
        where: file, for messages.
        front: what stands in front of the names of all blocks.

    Raises:
        CheckpointError: two tensors would get one name.
    """
    renamed: Tensors = {}
    for name, tensor in state_dict.items():
        new = _behind(front, name)
        for pattern, replacement in naming.table:
            new = re.sub(pattern, replacement, new)
        is_known = new.startswith(('backbone.', 'cls_head.'))
        if not is_known and front.endswith('backbone.') and name.startswith(front):
            new = f'backbone.{new}'  # for messages: nothing the model has a place for
        if new in renamed:
            raise CheckpointError(
                f'{where}: two tensors are both called {listed([new])} by mmaction2'
            )
        renamed[new] = tensor
    return renamed
