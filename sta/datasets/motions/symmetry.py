"""Mirror images and time reversals of the motions, which change the class in a known way."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmaction.registry import TRANSFORMS

from ..transforms import Transform
from .clips import CLASS_NAMES

_MIRRORED = {
    'left_to_right': 'right_to_left',
    'turning_clockwise': 'turning_counter_clockwise',
}
_UPSIDE_DOWN = {
    'moving_up': 'moving_down',
    'turning_clockwise': 'turning_counter_clockwise',
}
_REVERSED = {
    'left_to_right': 'right_to_left',
    'moving_up': 'moving_down',
    'approaching': 'receding',
    'turning_clockwise': 'turning_counter_clockwise',
    'meeting': 'parting',
}


def _label_map(pairs: dict[str, str]) -> np.ndarray:
    both = {**pairs, **{second: first for first, second in pairs.items()}}
    return np.array([CLASS_NAMES.index(both.get(name, name)) for name in CLASS_NAMES])


LABELS_MIRRORED = _label_map(_MIRRORED)
LABELS_UPSIDE_DOWN = _label_map(_UPSIDE_DOWN)
LABELS_REVERSED = _label_map(_REVERSED)


@TRANSFORMS.register_module()
class MotionSymmetry(Transform):
    """Mirror left-right, top-bottom and in time, each with probability one half; adapt the label.

    The data set is drawn without preference for any direction, so a mirrored or reversed clip is as
    likely as the clip itself: eight clips for the price of rendering one.

    Required and changed keys: imgs, a list of (H, W, 3) frames of one clip, and label.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Transform a training clip."""
        frames, label = results['imgs'], results['label']
        if np.random.rand() < 0.5:
            frames, label = [frame[:, ::-1] for frame in frames], LABELS_MIRRORED[label]
        if np.random.rand() < 0.5:
            frames, label = [frame[::-1] for frame in frames], LABELS_UPSIDE_DOWN[label]
        if np.random.rand() < 0.5:
            frames, label = frames[::-1], LABELS_REVERSED[label]
        results['imgs'], results['label'] = frames, int(label)
        return results
