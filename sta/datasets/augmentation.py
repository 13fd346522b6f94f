"""RandAugment for clips, every frame changed in the same way; several augmentations of a clip."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from mmaction.registry import TRANSFORMS
from mmengine.dataset import Compose
from PIL import Image, ImageChops, ImageEnhance, ImageOps

from .transforms import Transform

MAX_MAGNITUDE = 10.0
# Where rotating, shearing and shifting leave nothing: ImageNet's mean.
FILL = (124, 116, 104)


class Operation(NamedTuple):
    """One way to change a picture.

    Attributes:
        amount: the strength 0..1 as an amount of what the operation counts in: degrees, bits, ...
        apply: the picture and the amount to the changed picture.
        signed: the amount is negated with probability one half.
    """

    amount: Callable[[float], float]
    apply: Callable[[Image.Image, float], Image.Image]
    signed: bool = False


def _affine(picture: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return picture.transform(
        picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=FILL
    )


def _enhance(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    # 1 leaves the picture as it is; 0.1 and 1.9 are the ends.
    return Operation(
        lambda strength: 0.9 * strength,
        lambda picture, change: kind(picture).enhance(1 + change),
        signed=True,
    )


def _solarize_add(picture: Image.Image, addition: float) -> Image.Image:
    table = [min(255, value + int(addition)) if value < 128 else value for value in range(256)]
    return picture.point(table * 3)


def _nothing(_: float) -> float:
    return 0.0


# Cubuk et al., "RandAugment", 2020, section 3, in the form in which more strength is always a
# larger change. Amounts at full strength are those customary with transformers.
OPERATIONS: dict[str, Operation] = {
    'auto_contrast': Operation(_nothing, lambda p, _: ImageOps.autocontrast(p)),
    'equalize': Operation(_nothing, lambda p, _: ImageOps.equalize(p)),
    'invert': Operation(_nothing, lambda p, _: ImageChops.invert(p)),
    'rotate': Operation(
        lambda s: 30 * s,
        lambda p, degrees: p.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=FILL),
        signed=True,
    ),
    'posterize': Operation(
        lambda s: max(1, 4 - int(4 * s)), lambda p, bits: ImageOps.posterize(p, int(bits))
    ),
    'solarize': Operation(
        lambda s: 256 - int(256 * s), lambda p, threshold: ImageOps.solarize(p, int(threshold))
    ),
    'solarize_add': Operation(lambda s: int(110 * s), _solarize_add),
    'color': _enhance(ImageEnhance.Color),
    'contrast': _enhance(ImageEnhance.Contrast),
    'brightness': _enhance(ImageEnhance.Brightness),
    'sharpness': _enhance(ImageEnhance.Sharpness),
    'shear_x': Operation(
        lambda s: 0.3 * s, lambda p, slope: _affine(p, (1, slope, 0, 0, 1, 0)), signed=True
    ),
    'shear_y': Operation(
        lambda s: 0.3 * s, lambda p, slope: _affine(p, (1, 0, 0, slope, 1, 0)), signed=True
    ),
    'translate_x': Operation(
        lambda s: 0.45 * s,
        lambda p, share: _affine(p, (1, 0, share * p.width, 0, 1, 0)),
        signed=True,
    ),
    'translate_y': Operation(
        lambda s: 0.45 * s,
        lambda p, share: _affine(p, (1, 0, 0, 0, 1, share * p.height)),
        signed=True,
    ),
}


@TRANSFORMS.register_module()
class ClipRandAugment(Transform):
    """Change a clip by a few random operations, each with one random strength for all frames.

    Cubuk et al., "RandAugment", 2020. "RandAug (9, 0.5)", as the recipes of MAE, VideoMAE and STA
    have it, is ``magnitude=9, magnitude_std=0.5``; it leaves ``prob`` and ``num_ops`` at the
    customary 0.5 and 2.

    Required and changed keys: imgs, a list of (H, W, 3) uint8 RGB frames.

    Args:
        magnitude: mean strength of the operations, 0 to 10.
        magnitude_std: standard deviation of the strength, which is cut off at 0 and 10.
        num_ops: operations drawn per clip, with replacement.
        prob: of applying each operation that was drawn.
        operations: which to draw from, names in OPERATIONS; None draws from all. Leave out what
            gives the class away or changes it, such as shifts where the class is a direction.

    Raises:
        ValueError: a value out of its range, or an unknown operation.
    """

    def __init__(
        self,
        *,
        magnitude: float = 9.0,
        magnitude_std: float = 0.5,
        num_ops: int = 2,
        prob: float = 0.5,
        operations: list[str] | None = None,
    ) -> None:
        if not 0 <= magnitude <= MAX_MAGNITUDE:
            raise ValueError(f'magnitude must lie between 0 and 10, got {magnitude}')
        if magnitude_std < 0:
            raise ValueError(f'magnitude_std must not be negative, got {magnitude_std}')
        if not isinstance(num_ops, int) or num_ops < 1:
            raise ValueError(f'num_ops must be a whole number of at least 1, got {num_ops!r}')
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must lie between 0 and 1, got {prob}')
        names = list(OPERATIONS) if operations is None else list(operations)
        unknown = sorted(set(names) - set(OPERATIONS))
        if unknown or not names:
            raise ValueError(f'operations must be among {", ".join(OPERATIONS)}, got {names}')
        self.magnitude = magnitude
        self.magnitude_std = magnitude_std
        self.num_ops = num_ops
        self.prob = prob
        self.operations = names

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change a clip."""
        for name, amount in self._draw():
            apply = OPERATIONS[name].apply
            results['imgs'] = [
                np.asarray(apply(Image.fromarray(frame), amount)) for frame in results['imgs']
            ]
        return results

    def _draw(self) -> list[tuple[str, float]]:
        """Operations to apply, in order, and their amounts."""
        drawn = []
        for name in np.random.choice(self.operations, self.num_ops):
            if np.random.rand() >= self.prob:
                continue
            strength = np.random.normal(self.magnitude, self.magnitude_std)
            strength = float(np.clip(strength, 0, MAX_MAGNITUDE)) / MAX_MAGNITUDE
            amount = OPERATIONS[name].amount(strength)
            if OPERATIONS[name].signed and np.random.rand() < 0.5:
                amount = -amount
            drawn.append((str(name), amount))
        return drawn


# mmaction2's; it puts the augmentations of all videos into one flat batch.
COLLATE = 'repeat_pseudo_collate'


@TRANSFORMS.register_module()
class RepeatedAugmentation(Transform):
    """Give each decoded clip several times, differently augmented.

    Hoffer et al., "Augment your batch", CVPR 2020. Decoding, which is what training on videos waits
    for, is done once for all of them. The last transform of a training pipeline; the data loader
    then needs ``collate_fn=dict(type='repeat_pseudo_collate')``, and a batch holds
    ``batch_size * num_repeats`` clips.

    Required keys: imgs and whatever the transforms require.

    Args:
        num_repeats: augmentations of each clip.
        transforms: what is done anew for each, up to and including PackActionInputs.

    Raises:
        ValueError: fewer than one repeat, or no transforms.
    """

    def __init__(self, *, num_repeats: int, transforms: list[Any]) -> None:
        if not isinstance(num_repeats, int) or num_repeats < 1:
            raise ValueError(
                f'num_repeats must be a whole number of at least 1, got {num_repeats!r}'
            )
        if not transforms:
            raise ValueError('transforms is empty: every repeat would be the same')
        self.num_repeats = num_repeats
        self.transforms = Compose(transforms)

    def transform(self, results: dict[str, Any]) -> list[dict[str, Any]]:
        """Augment a clip ``num_repeats`` times; the given frames stay as they are."""
        # mmaction2's Flip writes into the frames it is given.
        return [self.transforms(copy.deepcopy(results)) for _ in range(self.num_repeats)]
