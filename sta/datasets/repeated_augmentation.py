"""Several augmentations of one decoded clip in one batch."""

from __future__ import annotations

import copy
from typing import Any

from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose

# mmaction2's; it puts the augmentations of all videos into one flat batch.
COLLATE = 'repeat_pseudo_collate'


@TRANSFORMS.register_module()
class RepeatedAugmentation(BaseTransform):
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

    def transform(self, results: dict) -> list[dict]:
        """Augment a clip ``num_repeats`` times; the given frames stay as they are."""
        # mmaction2's Flip writes into the frames it is given.
        return [self.transforms(copy.deepcopy(results)) for _ in range(self.num_repeats)]

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(num_repeats={self.num_repeats}, transforms={self.transforms})'
        )
