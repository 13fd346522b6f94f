"""The loop that decodes once and evaluates every variant, and how its processes start."""

from sta.compat import HOST_MODULES, heal_host, refuse_missing
from sta.errors import LaunchError

refuse_missing(
    'sta.engine', *HOST_MODULES, 'einops', 'decord', 'av', 'safetensors', 'rich', 'scipy'
)
heal_host()

from .launch import LAUNCHERS, first_decides, start_processes  # noqa: E402
from .loop import SoundVideosValLoop, VariantTestLoop  # noqa: E402
from .training import BFloat16OptimWrapper  # noqa: E402  (the host must be healed first)

__all__ = [
    'LAUNCHERS',
    'BFloat16OptimWrapper',
    'LaunchError',
    'SoundVideosValLoop',
    'VariantTestLoop',
    'first_decides',
    'start_processes',
]
