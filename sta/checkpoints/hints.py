"""What a checkpoint that does not fit seems to be, and which config would fit it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

# (width, depth), classes: a config. Its name follows the model's.
_VIT_SIZES: dict[tuple[int, ...], str] = {
    (384, 12): '_s',
    (768, 12): '',
    (1024, 24): '_l',
    (1280, 32): '_h',
}
_VIT_DATA = {400: 'k400', 174: 'ssv2'}
_VIT_GIANT = (1408, 40)
# The four facts of a Profile: a config.
_SWIN_CONFIGS: dict[tuple[object, ...], str] = {
    (96, (2, 2, 6, 2), 2535, 400): 'sta_swin_t_k400',
    (96, (2, 2, 18, 2), 2535, 400): 'sta_swin_s_k400',
    (128, (2, 2, 18, 2), 2535, 400): 'sta_swin_k400',
    (128, (2, 2, 18, 2), 5239, 174): 'sta_swin_ssv2',
}
_OTHER_CLASSES = {
    600: 'Kinetics-600',
    700: 'Kinetics-700',
    710: 'Kinetics-710 (Kinetics-400, 600 and 700 together)',
}
# What names of other models have in common; the first that is found counts.
_FOREIGN = (
    (
        r'(^|\.)(decoder\.|mask_token$|encoder_to_decoder\.)',
        'It is a pre-training checkpoint with a decoder: use the fine-tuned one, or train from it '
        'with pretrained=FILE in the config',
    ),
    (r'(^|\.)transformer_layers\.layers\.|temporal_(attn|embed)|time_embed', 'It is a TimeSformer'),
    (r'attn\.(rel_pos_[hwt]|pool_[qkv])(\.|$)', 'It is an MViT'),
    (r'(^|\.)blocks[1-4]\.\d+\.', 'It is a UniFormer'),
    (r'(^|\.)(slow|fast)_path\.', 'It is a SlowFast network'),
    (r'(^|\.)layer[1-4]\.\d+\.', 'It is a ResNet (TSN, TSM, I3D, SlowOnly, ...)'),
    (
        r'(^|\.)(cls_token|class_embedding|class_token)$',
        'It has a class token, as image ViTs have and VideoMAE has not',
    ),
)
_PATCH_WEIGHT = re.compile(r'patch_embed\w*\.(proj|projection)\.weight$')


class Profile(NamedTuple):
    """The size of a model, as the shapes of its weights tell it.

    Attributes:
        width: channels C, of the first stage for VideoSwin.
        depths: blocks, per stage for VideoSwin.
        window_rows: rows of a position table; None for a ViT.
        classes: None without a head.
    """

    width: int
    depths: tuple[int, ...]
    window_rows: int | None
    classes: int | None


def hint(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """Say what a checkpoint seems to be and what would fit it.

    Args:
        given: the checkpoint's tensors under mmaction2's names.
        own: those of the model it does not fit.

    Returns:
        Sentences to append to a message, beginning with a full stop; empty where nothing is known.
    """
    foreign = foreign_model(given)
    if foreign:
        return foreign
    profile = profile_of(given)
    if profile is None:
        return ''
    return f'. {_size(profile)}{_advice(profile, profile_of(own), given)}'


def foreign_model(names: Mapping[str, Tensor]) -> str:
    """Say which other model a state dict is of, under whatever names; empty if none is known."""
    for pattern, what in _FOREIGN:
        if any(re.search(pattern, name) for name in names):
            return f'. {what}'
    if any(_PATCH_WEIGHT.search(name) and names[name].dim() == 4 for name in names):
        is_swin = any('relative_position_bias_table' in name for name in names)
        way = '; train from it with model.backbone.pretrained=FILE, pretrained2d=True'
        return f'. It embeds images, not tubelets: a model of images{way if is_swin else ""}'
    return ''


def profile_of(tensors: Mapping[str, Tensor]) -> Profile | None:
    """The size of a ViT or VideoSwin under mmaction2's names, or None."""
    tables = [t for name, t in tensors.items() if name.endswith('relative_position_bias_table')]
    pattern = r'layers\.(\d)\.blocks\.(\d{1,3})\.' if tables else r'()\bblocks\.(\d{1,3})\.'
    places = {m.groups() for m in (re.search(pattern, name) for name in tensors) if m}
    embedding = _first_shape(tensors, 'patch_embed.proj.bias' if tables else 'attn.proj.bias')
    if not places or not embedding:
        return None
    stages = sorted({stage for stage, _ in places})
    depths = (1 + max(int(i) for stage, i in places if stage == s) for s in stages)
    head = _first_shape(tensors, 'fc_cls.bias')
    return Profile(
        width=embedding[0],
        depths=tuple(depths),
        window_rows=tables[0].shape[0] if tables and tables[0].dim() else None,
        classes=head[0] if head else None,
    )


def _first_shape(tensors: Mapping[str, Tensor], ending: str) -> tuple[int, ...]:
    return next((tuple(t.shape) for name, t in tensors.items() if name.endswith(ending)), ())


def _size(profile: Profile) -> str:
    if profile.window_rows is None:
        text = f'It holds {profile.depths[0]} blocks of width {profile.width}'
    else:
        text = (
            f'It holds {"-".join(map(str, profile.depths))} blocks of a VideoSwin of width '
            f'{profile.width}, {profile.window_rows} relative positions in a window'
        )
    return text + (f' and {profile.classes} classes' if profile.classes else '')


def _advice(profile: Profile, own: Profile | None, given: Mapping[str, Tensor]) -> str:
    has_head = own is not None and own.classes is not None
    if has_head and profile.classes is None:
        return (
            ' but no classifier, as pre-trained encoders and feature extractors do: use a '
            'checkpoint that was fine-tuned to classes'
        )
    if own == (profile if has_head else profile._replace(classes=None)):
        return _peculiarity(given)
    if (profile.width, *profile.depths) == _VIT_GIANT:
        return ": VideoMAE V2's ViT-g, for which there is no config here; use its ViT-S or ViT-B"
    if profile.classes in _OTHER_CLASSES:
        return _other_classes(profile.classes)
    config = _config(profile)
    return f': configs/{config}.py would fit' if config else ''


def _config(profile: Profile) -> str | None:
    if profile.window_rows is not None:
        return _SWIN_CONFIGS.get(profile)
    size = _VIT_SIZES.get((profile.width, *profile.depths))
    data = None if profile.classes is None else _VIT_DATA.get(profile.classes)
    return None if size is None or data is None else f'sta_vit{size}_{data}'


def _other_classes(classes: int) -> str:
    text = f': {_OTHER_CLASSES[classes]}, for which there is no config here. '
    if classes == 710:
        return text + (
            'It is the step before the last of VideoMAE V2: use the checkpoint fine-tuned on one '
            'data set after it, such as Kinetics-400'
        )
    return text + (
        f'Use one fine-tuned on Kinetics-400 or Something-Something V2, or a config with '
        f'model.cls_head.num_classes={classes} and lists of that data set'
    )


def _peculiarity(given: Mapping[str, Tensor]) -> str:
    """What differs in models of one size."""
    if any(name.endswith('attn.qkv.bias') for name in given) and not _is_swin(given):
        return '. Its keys have a bias, which those of VideoMAE have not: it is another ViT'
    if 'backbone.norm.weight' in given and 'backbone.fc_norm.weight' not in given:
        return (
            '. It has a norm in front of its first token in place of one behind the mean over '
            'tokens: set model.backbone.use_mean_pooling=False and evaluate it unpruned'
        )
    if not _is_swin(given) and not any(name.endswith('.q_bias') for name in given):
        return '. It has no biases on queries and values: set model.backbone.qkv_bias=False'
    return ''


def _is_swin(given: Mapping[str, Tensor]) -> bool:
    return any('relative_position_bias_table' in name for name in given)
