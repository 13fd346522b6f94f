"""Look at configs, lists and weights before anything is submitted."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from sta.atomic import check_folder
from sta.engine.config import load_config
from sta.engine.loop import Shard
from sta.engine.session import build_model_of_shapes, check_variants, explained, variants_of
from sta.errors import ConfigError

from .manifest import Planned, digest_of_files
from .plan import Evaluation


def check_sweep_folder(folder: Path, executor: str) -> None:
    """Refuse a folder that jobs could not write to under its own name.

    Args:
        folder: of the sweep, made or not.
        executor: 'local' or 'slurm'.

    Raises:
        ConfigError: its path holds what submitit or sbatch fill in, or what no script can hold.
        OSError: it can neither be made nor written.
    """
    path = str(folder.absolute())
    # submitit replaces these four in paths of its own; sbatch takes any letter for something.
    filled_in = re.search('%' if executor == 'slurm' else '%[jtaA]', path)
    if filled_in:
        where = path[filled_in.start() :][:2]
        raise ConfigError(
            f'the folder of the sweep, {path}, holds {where!r}, which {executor} jobs fill in: '
            f'choose another --sweep-dir, without %'
        )
    if not path.isprintable():
        raise ConfigError(
            f'the folder of the sweep, {path!r}, holds characters that no job script can'
        )
    check_folder(folder, '--sweep-dir')


def plan(evaluations: Sequence[Evaluation]) -> list[Planned]:
    """Read every config and list once, and refuse what could only fail later.

    Raises:
        ConfigError, DataError: a config, checkpoint or list that is not there or cannot be read;
            more shards than there are batches.
        PrunerError, ScheduleError, VariantError: a variant does not suit the model.
    """
    seen: dict[tuple, tuple[int, str | None, int, str]] = {}
    planned = []
    for one in evaluations:
        key = (one.config, *one.options)
        if key not in seen:
            seen[key] = _look(one)
        num_videos, annotations, batch_size, digest = seen[key]
        if (limit := _max_videos(one)) is not None:
            num_videos = min(num_videos, limit)
        try:
            Shard(1, one.shards).check(num_videos, batch_size)
        except ConfigError as error:
            raise ConfigError(f'{one.name}: {error}') from None
        weights = digest_of_files(Path(one.checkpoint))
        planned.append(Planned(one, num_videos, annotations, batch_size, digest, weights))
    return planned


def _look(one: Evaluation) -> tuple[int, str | None, int, str]:
    """Videos of the list, its path, videos of a batch, digest of the config."""
    config = load_config(one.config, _config_options(one))
    for part in ('test_cfg', 'test_dataloader'):
        if not isinstance(config.get(part), dict):
            raise ConfigError(f'config {one.config} defines no {part}')
    if not _values(one, '--budget'):
        typed = {key: _values(one, f'--{key}') for key in ('schedules', 'pruners')}
        variants = variants_of(config, **typed)
        check_variants(build_model_of_shapes(config), variants)
    text = json.dumps(config.to_dict(), sort_keys=True, default=repr)
    return (
        _num_videos(config),
        config.test_dataloader.dataset.get('ann_file'),
        config.test_dataloader.get('batch_size', 1),
        hashlib.sha256(text.encode()).hexdigest()[:16],
    )


def _num_videos(config: Config) -> int:
    init_default_scope(config.get('default_scope', 'mmaction'))
    with explained(f'test_dataloader of {config.filename} cannot be built'):
        return len(DATASETS.build(config.test_dataloader.dataset))


def _config_options(one: Evaluation) -> tuple[str, ...]:
    return _values(one, '--cfg-options')


def _max_videos(one: Evaluation) -> int | None:
    values = _values(one, '--max-videos')
    return int(values[0]) if values else None


def _values(one: Evaluation, flag: str) -> tuple[str, ...]:
    """The words behind an option."""
    if flag not in one.options:
        return ()
    rest = one.options[one.options.index(flag) + 1 :]
    end = next((i for i, word in enumerate(rest) if word.startswith('--')), len(rest))
    return rest[:end]
