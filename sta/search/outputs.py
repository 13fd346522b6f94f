"""What a search leaves in its folder: a config that runs the schedule found, and how it was."""

from __future__ import annotations

import ast
import copy
import dataclasses
import hashlib
import json
import keyword
import os
import pprint
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmaction.registry import DATASETS
from mmengine.config import Config

from sta.atomic import check_folder, write_text
from sta.datasets.annotations import Annotation, known_classes, list_text, read_annotations, sample
from sta.engine.clips import files_dataset, find_videos
from sta.engine.config import parse_option
from sta.engine.run_folder import choose_folder
from sta.engine.session import build_test_runner, explained
from sta.errors import ConfigError, DataError
from sta.evaluation import EvaluationResult, paired_change, top_k_correct
from sta.report.table import counted

from .space import Stages
from .study import Found

_CONFIG = """\
# Found by
#   {command}
# {found}
{listed}_base_ = {base!r}
{overrides}test_cfg = dict(
{settings}    schedules=[
        0,
        dict(name='paper', schedule={paper!r}),
        dict(
            name='searched',
            schedule=[
{stages}
            ],
        ),
    ],
    pruners=[{pruner!r}],
)
"""

_NONE_LEFT = """\
# It evaluates the whole test list, every video of which was searched on.
"""

_WHOLE_LIST = """\
# It evaluates the whole test list, the videos that were searched on included, unless run with
#   --cfg-options test_dataloader.dataset.ann_file={heldout}
"""


def prepare_folder(path: Path) -> Path:
    """Make a folder, and see that it can be written.

    Raises:
        ConfigError: it is a file, cannot be made, or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f'--out {path} is a file: name a folder')
    try:
        check_folder(path)
        path.mkdir(parents=True, exist_ok=True)
        return path
    except OSError as error:
        raise ConfigError(f'--out {path} cannot be written: {error.strerror or error}') from None


def write_config(
    path: Path,
    *,
    base: str,
    stages: Stages,
    paper: Any,
    pruner: Mapping[str, Any],
    command: str,
    found: str,
    overrides: Mapping[str, Any],
    heldout: Path | None,
    all_searched: bool = False,
) -> None:
    """Write a config that evaluates no pruning, the paper's schedule and the one found.

    Args:
        path: of the new config.
        base: config that was searched for; named relative to the new one.
        stages: the schedule found.
        paper: the paper's schedule of the same cost.
        pruner: settings.
        command: that made it.
        found: what it is, in a line.
        overrides: of the base, see :func:`sta.search.outputs.overrides_of`.
        heldout: list of the videos that were not searched on; None where that is the test list, or
            nothing.
        all_searched: whether it is nothing.

    Raises:
        OSError: it cannot be written.
    """
    rows = []
    for stage in stages:
        rows.append(f'                dict({", ".join(f"{k}={v!r}" for k, v in stage.items())}),')
    base = Path(os.path.relpath(Path(base).resolve(), path.resolve().parent)).as_posix()
    listed = _NONE_LEFT if all_searched else ''
    if heldout is not None:
        listed = _WHOLE_LIST.format(heldout=shlex.quote(str(heldout)))
    others, settings = _written(overrides)
    text = _CONFIG.format(
        command=command,
        found=found,
        listed=listed,
        base=base,
        overrides=others,
        settings=settings,
        paper=paper,
        stages='\n'.join(rows),
        pruner=dict(pruner),
    )
    write_text(path, text)


def _written(overrides: Mapping[str, Any]) -> tuple[str, str]:
    """Lines of all keys but test_cfg, and the line within it; its variants are the search's own."""
    lines = [
        f'{key} = {pprint.pformat(value, width=100, sort_dicts=False)}\n'
        for key, value in overrides.items()
        if key != 'test_cfg'
    ]
    own = ('schedules', 'pruners')
    settings = {k: v for k, v in overrides.get('test_cfg', {}).items() if k not in own}
    return ''.join(lines), f'    **{settings!r},\n' if settings else ''


def write_search(path: Path, found: Found, facts: Mapping[str, Any]) -> None:
    """Write what was found, and how, as JSON.

    Raises:
        OSError: it cannot be written.
    """
    paper = None if found.paper_distance is None else found.paper_distance._asdict()
    told = {
        **facts,
        'stages': found.stages,
        'gflops_per_view': found.gflops_per_view,
        'num_trials': found.num_trials,
        'searched': found.distance._asdict(),
        'paper': paper,
    }
    write_text(path, json.dumps(told, indent=2, allow_nan=False) + '\n')


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


def compare(
    config: Config,
    checkpoint: str,
    out: Path,
    *,
    pruner: Mapping[str, Any],
    paper: Any,
    stages: Stages,
    videos: SearchVideos,
    heldout: Path | None,
) -> tuple[EvaluationResult, Path]:
    """Evaluate no pruning, the paper's schedule and the one found.

    Args:
        config: as it was searched for.
        checkpoint: weights.
        out: folder of the search.
        pruner: settings.
        paper: the paper's schedule of the same cost.
        stages: the schedule found.
        videos: that were searched on, and the others.
        heldout: list of the others; None where that is the config's.

    Returns:
        The result, and the folder in ``out`` that its scores are kept in.

    Raises:
        ConfigError, DataError, StoreError: see :func:`sta.engine.session.build_test_runner`.
    """
    config = copy.deepcopy(config)
    schedules = [dict(name='paper', schedule=paper), dict(name='searched', schedule=stages)]
    config.test_cfg.schedules, config.test_cfg.pruners = [0, *schedules], [dict(pruner)]
    if heldout is not None and not videos.compares_all:
        config.test_dataloader.dataset.ann_file = str(heldout)
    digest = hashlib.sha256(json.dumps(stages).encode()).hexdigest()[:8]
    kind = 'compared' if videos.compares_all and videos.searched else 'heldout'
    runner = build_test_runner(
        config,
        checkpoint,
        choose=lambda fingerprint: choose_folder(
            out, fingerprint, work_dir=out / f'{kind}_{digest}', resume=None
        ),
    )
    result, folder = runner.test(), runner.test_loop.folder.path
    part = f'{_searched(result, videos).sum()} of them searched on' if kind == 'compared' else ''
    return dataclasses.replace(result, part=part), folder


def difference_lines(result: EvaluationResult, videos: SearchVideos) -> list[str]:
    """The schedule found against the paper's: on all, and where some were searched on, the rest."""
    own = _searched(result, videos)
    if not own.any():
        return [_difference_line(result, ~own, 'held-out videos')]
    number = 'all' if own.all() else f'{own.sum()}'
    lines = [_difference_line(result, own | True, f'videos, {number} of them searched on')]
    return lines if own.all() else [*lines, _difference_line(result, ~own, 'held-out videos')]


def _searched(result: EvaluationResult, videos: SearchVideos) -> np.ndarray:
    """(videos,) bool, which of the evaluated ones were searched on."""
    return np.array([name in videos.files for name in result.names])


def _difference_line(result: EvaluationResult, chosen: np.ndarray, what: str) -> str:
    paper, searched = (top_k_correct(v.scores, result.labels, 1) for v in result.variants[-2:])
    change = paired_change(paper[chosen], searched[chosen])
    sure = 'too few videos for an interval'
    if change.low is not None:
        sure = (
            f'paired 95 % interval {change.low:+.2f} to {change.high:+.2f}, McNemar p '
            f'{change.p_value:.3f}'
        )
    return (
        f"searched against the paper's schedule at the same cost, {chosen.sum()} {what}: "
        f'{change.points:+.2f} points of top-1, {sure}'
    )


SEARCHED, HELDOUT = 'search.txt', 'heldout.txt'


class SearchVideos(NamedTuple):
    """What to search on, and the labelled rest.

    Attributes:
        dataset: the videos to search on.
        searched: lines of the test list that are among them: the same file, or equal content.
        heldout: the other lines.
        files: of the searched lines, as the test data set names them.
        compares_all: whether the comparison is on the whole test list, on ``searched``, too.
        max_videos: of the test data set, which draws as many of those compared on; None takes all.
    """

    dataset: Any
    searched: list[Annotation]
    heldout: list[Annotation]
    files: frozenset[str] = frozenset()
    compares_all: bool = False
    max_videos: int | None = None

    @property
    def fingerprint(self) -> dict[str, str]:
        """Digest of what is held out, so that the lists of a search are never those of another."""
        if not self.searched:
            return {}
        digest = hashlib.sha256(list_text(self.heldout).encode()).hexdigest()
        return {'held-out videos': digest[:16]}

    @property
    def compared(self) -> str:
        """Which videos of the test list the comparison is on, in words."""
        searched, number = len(self.searched), len(self.searched) + len(self.heldout)
        how = 'searched on (same file or equal content)'
        compared = number if self.compares_all else len(self.heldout)
        if self.max_videos is not None and self.max_videos < compared:
            drawn = f'{self.max_videos} drawn (max_videos) from '
            return drawn + self._replace(max_videos=None).compared
        if not searched:
            return counted(number, 'held-out video')
        if not self.compares_all:
            left = counted(len(self.heldout), 'held-out video')
            return f'{left}, without the {searched} of {number} in the test list that are {how}'
        which = 'all' if searched == number else f'{searched}'
        return f'{counted(number, "video")}, {which} of them {how}'

    def write(self, folder: Path) -> Path | None:
        """Write both lists.

        Returns:
            That of the videos held out; None where all of the test list is, or none of it.

        Raises:
            DataError: a name cannot stand in one without the quotation marks it had.
            OSError: one cannot be written.
        """
        if not self.searched:
            return None
        write_text(folder / SEARCHED, list_text(self.searched))
        if not self.heldout:
            return None
        write_text(folder / HELDOUT, list_text(self.heldout))
        return folder / HELDOUT


def search_videos(config: Config, number: int, *, clips: str | None = None) -> SearchVideos:
    """A fixed random sample of a config's test list, or of videos of one's own; writes nothing.

    Args:
        config: with test_dataloader.
        number: of videos to search on, at most.
        clips: a video or folder of videos, which need no labels; None takes the test list.

    Raises:
        ConfigError, DataError: the data cannot be read, or nothing is left to compare on.
    """
    settings = config.test_dataloader.dataset
    with explained(f'test_dataloader of {config.filename} cannot be built'):
        num_classes = settings.get('num_classes')
        whole = read_annotations(
            settings.ann_file,
            num_classes=num_classes,
            classes=known_classes(settings.get('classes'), num_classes),
            folder=(settings.get('data_prefix') or {}).get('video') or '',
        )
        dataset = DATASETS.build({**settings, 'max_videos': None})
        names = [dataset.get_data_info(place)['filename'] for place in range(len(whole))]
        if clips:
            files = sample(find_videos(clips), number)
            own = _searched_on(list(map(Path, names)), files)
            dataset = files_dataset(config, files)
        else:
            places = sample(range(len(whole)), number)
            own = _searched_on(list(map(Path, names)), [Path(names[place]) for place in places])
            if own.all():
                raise DataError(
                    f'--search-videos {number} leaves none of the {len(whole)} videos of '
                    f'{settings.ann_file} to compare on: take fewer, or give --clips'
                )
            dataset.get_subset_(places)
    return SearchVideos(
        dataset,
        searched=[entry for entry, ours in zip(whole, own, strict=True) if ours],
        heldout=[entry for entry, ours in zip(whole, own, strict=True) if not ours],
        files=frozenset(name for name, ours in zip(names, own, strict=True) if ours),
        compares_all=bool(clips),
        max_videos=settings.get('max_videos'),
    )


def _searched_on(paths: Sequence[Path], searched: Sequence[Path]) -> np.ndarray:
    """Which of some videos are searched on, (paths,) bool.

    A copy under another name, or a second line, is the same video: its bytes say so. They are read
    only where another file has as many.

    Args:
        paths: of the videos of a list.
        searched: files that are searched on.
    """
    files = {path.resolve() for path in searched}
    sizes = {size for size in map(_size, searched) if size is not None}
    alike = [path.resolve() not in files and _size(path) in sizes for path in paths]
    digests = set(filter(None, map(_digest, searched))) if any(alike) else set()
    ours = [
        path.resolve() in files or (same_size and _digest(path) in digests)
        for path, same_size in zip(paths, alike, strict=True)
    ]
    return np.array(ours)


def _size(path: Path) -> int | None:
    """Bytes; None where there is no such file, or an empty one, which is no video."""
    try:
        return path.stat().st_size or None
    except OSError:
        return None


def _digest(path: Path) -> bytes | None:
    """Of the content; None where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open('rb') as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError:
        return None
    return digest.digest()
