"""What was set with --cfg-options, as a config that inherits has to say it."""

from __future__ import annotations

import ast
import keyword
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from sta.engine.config import ConfigError, parse_option


def overrides_of(config: Config, options: Sequence[str]) -> dict[str, Any]:
    """Top-level keys and values that make the config these options were merged into of its base.

    A config cannot change one entry of a list of its base: such a list is given whole.

    Args:
        config: with the options merged, see :func:`sta.engine.config.load_config`.
        options: key=value.

    Raises:
        ConfigError: a value that has no literal in Python, or a key that is no name.
    """
    asked: dict[str, Any] = {}
    for option in options:
        key, value = parse_option(option, config)
        *parents, last = key.split('.')
        here = asked
        for part in parents:
            here = here.setdefault(part, {})
        here[last] = value
    overrides = _with_whole_lists(asked, config.to_dict())
    for key, value in overrides.items():
        if not key.isidentifier() or keyword.iskeyword(key) or not _has_literal(value):
            raise ConfigError(
                f'--cfg-options: {key!r} cannot be written into the config that a search leaves: '
                f'set it in a config of your own'
            )
    return overrides


def _with_whole_lists(asked: Mapping[str, Any], merged: Mapping[str, Any]) -> dict[str, Any]:
    whole = {}
    for key, value in asked.items():
        now = merged.get(key)
        if isinstance(value, Mapping) and isinstance(now, Mapping):
            value = _with_whole_lists(value, now)
        elif isinstance(value, Mapping) and isinstance(now, list):
            value = now
        whole[key] = value
    return whole


def _has_literal(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError):
        return False
