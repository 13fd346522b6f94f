"""Backbones with token pruning, registered in mmaction2's MODELS."""

from sta.compat import heal_host

heal_host()

from .head import LinearHead  # noqa: E402  (the host must be healed first)
from .swin import STASwinTransformer3D  # noqa: E402
from .vit import STAVisionTransformer  # noqa: E402

__all__ = ['LinearHead', 'STASwinTransformer3D', 'STAVisionTransformer']
