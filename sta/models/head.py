"""A linear classification head whose logits are float32 under autocast, too."""

from __future__ import annotations

from typing import Any

from mmaction.models import TimeSformerHead
from mmaction.registry import MODELS
from torch import Tensor

from sta.pruning.base import full_precision


@MODELS.register_module()
class LinearHead(TimeSformerHead):
    """mmaction2's TimeSformerHead in float32.

    Half-precision logits round scores of similar classes to ties, and mmaction2's own training
    accuracy cannot be computed from bfloat16.

    Args:
        num_classes: classes.
        in_channels: channels C of the feature, a vector or a map of tokens.
        average_clips: how mmaction2 averages views when it evaluates: 'prob', 'score' or None.
        dropout_ratio: dropout of the feature in training.
        loss_cls: loss, by default cross-entropy.
        label_smooth_eps: share of the target that is spread evenly over all classes in training.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        average_clips: str | None = 'prob',
        dropout_ratio: float = 0.0,
        loss_cls: dict[str, Any] | None = None,
        label_smooth_eps: float = 0.0,
    ) -> None:
        if not 0 <= label_smooth_eps < 1:
            raise ValueError(f'label_smooth_eps must be in [0, 1), got {label_smooth_eps}')
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            average_clips=average_clips,
            dropout_ratio=dropout_ratio,
            loss_cls=loss_cls or dict(type='CrossEntropyLoss'),
            label_smooth_eps=label_smooth_eps,
        )

    def forward(self, x: Tensor, loss_aux: dict[str, Any] | None = None) -> Tensor:
        """Map features to logits.

        Args:
            x: (B, C), or a map of tokens (B, C, T, H, W), of which the mean is taken.
            loss_aux: what necks add, unused.

        Returns:
            (B, classes).
        """
        with full_precision(x.device.type):
            x = x.to(self.fc_cls.weight.dtype)
            return super().forward(x.flatten(2).mean(-1) if x.dim() > 2 else x)
