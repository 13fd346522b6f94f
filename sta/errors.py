"""What a user can get wrong, as one tree.

A command line turns exactly these into one line on standard error and exit status 2; everything
else is a mistake of this project and keeps its traceback. Every message says what is wrong, with
which value, and what would be right. They are ordinary ``ValueError``, ``RuntimeError``, ... as
well, so that code which calls a part of sta need not know the tree::

    StaError
    ├── BudgetError          a budget that cannot be met
    ├── CheckpointError      a checkpoint that cannot be used
    ├── ConfigError          a config or an option that cannot be used
    │   ├── ExportError      a model that cannot be exported as asked
    │   └── SearchError      a search that cannot be made or gone on with
    ├── DataError            data that cannot be used
    │   ├── DeadProcessError a process that decodes or loads died, and not because of one file
    │   ├── MotionsError     clips that cannot be rendered as asked
    │   └── VideoError       a video that cannot be used
    ├── HostError            a host library that is missing or broken
    ├── HostModelError       a model of another library that cannot be pruned
    ├── LaunchError          processes that cannot find each other
    ├── MemoryShortError     not even one view fits into memory
    ├── NotFiniteError       a model gives NaN or infinity
    ├── PrunerError          settings that make no pruner
    ├── ScheduleError        a schedule that cannot run on the model at hand
    ├── StoreError           a store of scores that cannot be used
    └── VariantError         a pruner or schedule that cannot be understood
"""

from __future__ import annotations


class StaError(Exception):
    """What a user can get wrong; the message is one clear line."""


class BudgetError(StaError, ValueError):
    """A budget that cannot be met; the message says what can."""


class CheckpointError(StaError, ValueError):
    """A checkpoint that cannot be used; the message says what is wrong and what would fit."""


class ConfigError(StaError, ValueError):
    """A config that cannot be used; the message names the file and what is wrong."""


class ExportError(ConfigError):
    """A model that cannot be exported as asked; the message says what can."""


class SearchError(ConfigError):
    """A search that cannot be made or gone on with; the message says why."""


class DataError(StaError, ValueError):
    """Data that cannot be used; the message names the file and what would be right."""


class DeadProcessError(DataError):
    """A process that decodes or loads died, and not because of one file."""


class MotionsError(DataError):
    """A wish for clips that cannot be fulfilled, with the way out in the message."""


class VideoError(DataError):
    """A video that cannot be used; the message is the reason, without the file's name."""


class HostError(StaError, ImportError):
    """A host library that cannot be healed from here; the message holds the mending command."""


class HostModelError(StaError, ValueError):
    """A model that cannot be pruned from outside; the message says why and what can."""


class LaunchError(StaError, RuntimeError):
    """The environment does not look like the launcher that was named."""


class MemoryShortError(StaError, RuntimeError):
    """Not even one view fits into memory."""


class NotFiniteError(StaError, FloatingPointError):
    """A model gives NaN or infinity; the message names the video, the variants, the precision."""


class PrunerError(StaError, ValueError):
    """Settings that make no pruner, or a name that is taken; the message says what is known."""


class ScheduleError(StaError, ValueError):
    """A schedule that cannot run on the model at hand; the message names stage and limit."""


class StoreError(StaError, ValueError):
    """A store that cannot be used; the message says why and what to do."""


class VariantError(StaError, ValueError):
    """A pruner or schedule that cannot be understood; the message says what can."""
