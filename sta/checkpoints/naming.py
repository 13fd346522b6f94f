"""One renaming table per source of checkpoints, onto the names of mmaction2's recognizers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from . import huggingface
from .errors import CheckpointError, listed
from .hints import foreign_model

Tensors = dict[str, Tensor]


class Naming(NamedTuple):
    """How one source names its parameters.

    Attributes:
        source: what to call it in reports.
        mark: a regular expression that only its names match.
        table: (pattern, replacement), the first match of each is applied in turn.
        fuse: puts together what the source keeps apart, after renaming; gives the tensors and the
            names of those it left out.
    """

    source: str
    mark: str
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


_VIDEOMAE_TABLE = (
    (r'^(?:module\.|model\.|encoder\.|_orig_mod\.)+', ''),
    (r'^(backbone\.)?patch_embed\.proj\.', 'backbone.patch_embed.projection.'),
    (r'^(backbone\.)?(blocks\.\d+\.)mlp\.fc1\.', r'backbone.\2mlp.layers.0.0.'),
    (r'^(backbone\.)?(blocks\.\d+\.)mlp\.fc2\.', r'backbone.\2mlp.layers.1.'),
    (r'^(blocks\.|fc_norm\.|norm\.|pos_embed$)', r'backbone.\1'),
    (r'^(backbone\.)?head\.', 'cls_head.fc_cls.'),
)
_MMACTION2_TABLE = (
    (r'^(?:module\.|_orig_mod\.)+', ''),
    (r'^(patch_embed\.|blocks\.|fc_norm\.|norm\.|pos_embed$)', r'backbone.\1'),
)
_VIDEOSWIN_TABLE = (
    (r'^(?:module\.|_orig_mod\.)+', ''),
    (r'^(patch_embed\.|layers\.|norm\d?\.)', r'backbone.\1'),
    # The authors' model ends in one norm; mmaction2's has one per stage that it returns.
    (r'^backbone\.norm\.', 'backbone.norm3.'),
)

NAMINGS = (
    Naming(
        'VideoSwin (its authors or mmaction2)',
        r'layers\.\d+\.blocks\.\d+\.attn\.relative_position_bias_table',
        _VIDEOSWIN_TABLE,
    ),
    Naming(
        'VideoMAE (Hugging Face)',
        huggingface.MARK,
        huggingface.TABLE,
        fuse=huggingface.fuse_attention,
    ),
    Naming('VideoMAE (authors of VideoMAE and STA)', r'blocks\.\d+\.mlp\.fc1\.', _VIDEOMAE_TABLE),
    Naming('mmaction2', r'blocks\.\d+\.mlp\.layers\.', _MMACTION2_TABLE),
)


def translate(state_dict: Mapping[str, Tensor], where: str) -> Translation:
    """Recognise whose names a state dict has and give its tensors mmaction2's.

    Args:
        state_dict: names as in the file.
        where: file, for messages.

    Raises:
        CheckpointError: names of no known kind, two tensors of one name, or parts that do not fit
            together.
    """
    naming = recognise(state_dict)
    if naming is None:
        raise CheckpointError(
            f'{where}: its names ({listed(sorted(state_dict), 4)}) are of no known kind; known are '
            f'the authors of VideoMAE, STA and VideoSwin, and mmaction2, and Hugging Face VideoMAE'
            f'{foreign_model(state_dict)}'
        )
    tensors = rename(state_dict, naming, where)
    if naming.fuse is None:
        return Translation(naming.source, tensors)
    return Translation(naming.source, *naming.fuse(tensors, where))


def recognise(names: Mapping[str, Tensor]) -> Naming | None:
    """The naming a state dict follows, or None."""
    for naming in NAMINGS:
        if any(re.search(naming.mark, name) for name in names):
            return naming
    return None


def rename(state_dict: Mapping[str, Tensor], naming: Naming, where: str) -> Tensors:
    """Rename every tensor onto 'backbone.*' and 'cls_head.*'.

    Raises:
        CheckpointError: two tensors would get one name.
    """
    renamed: Tensors = {}
    for name, tensor in state_dict.items():
        for pattern, replacement in naming.table:
            name = re.sub(pattern, replacement, name)
        if name in renamed:
            raise CheckpointError(
                f'{where}: two tensors are both called {listed([name])} by mmaction2'
            )
        renamed[name] = tensor
    return renamed
