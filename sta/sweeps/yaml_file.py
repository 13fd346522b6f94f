"""A sweep file: plain YAML, nothing of which is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from sta.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Plain values only, and 4:00:00 stays as it is written."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((':int', ':float'))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# YAML 1.2: no sexagesimal numbers.
_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:int', re.compile(r'^[-+]?\d+$'), list('-+0123456789')
)
_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float',
    re.compile(r'^[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?$'),
    list('-+.0123456789'),
)


def load_yaml(path: Path) -> dict[str, Any]:
    """Keys and values of a file.

    Raises:
        ConfigError: no such file, or not of this kind.
    """
    if not path.is_file():
        what = 'is a folder' if path.is_dir() else 'does not exist'
        raise ConfigError(f'sweep {path} {what}; sweeps are YAML files such as those in sweeps/')
    try:
        said = yaml.load(path.read_text(encoding='utf-8'), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f'sweep {path} is no YAML: {" ".join(str(error).split())}') from None
    if not isinstance(said, dict) or not all(isinstance(key, str) for key in said):
        raise ConfigError(f'sweep {path} must be keys and values, got {type(said).__name__}')
    return said
