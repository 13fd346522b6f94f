"""Where a run writes: a new folder, or that of the same run where it was cut off."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from sta.atomic import check_folder, naming
from sta.datasets.annotations import legible
from sta.errors import ConfigError, StoreError
from sta.evaluation import STORE_FORMAT
from sta.evaluation.store import differing_parts, read_fingerprint
from sta.pruning import Variant

try:
    from fcntl import LOCK_EX, LOCK_NB, lockf
except ImportError:  # Windows
    lockf = None  # type: ignore[assignment]

SCORES, RESULTS, LOCK = 'scores', 'results.json', '.lock'


@dataclass(frozen=True)
class RunFolder:
    """A folder that this process may write to until it ends.

    Attributes:
        path: the folder.
        state: 'new', 'cut off' (scores but no results) or 'finished' (both).
        lock: keeps other processes out while it is open; None in a process that did not choose.
    """

    path: Path
    state: str
    lock: IO[str] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes learn of the folder; the lock is this one's."""
        return RunFolder, (self.path, self.state)


def choose_folder(
    parent: Path, fingerprint: Mapping[str, str], *, work_dir: Path | None, resume: bool | None
) -> RunFolder:
    """Find the run to go on with, or make a folder for a new one.

    Args:
        parent: of the folders that are named by time, e.g. work_dirs/sta_vit_k400.
        fingerprint: what the scores of this run depend on.
        work_dir: a folder that the user chose; None looks for a run in ``parent``.
        resume: True insists on an older run, False on a new one; None takes what there is.

    Raises:
        ConfigError: nothing to resume, results of another kind, or another process writes there.
        StoreError: the folder holds scores of another run.
    """
    if work_dir is not None:
        return _chosen(work_dir, fingerprint, resume)
    if resume is not False:
        for path in sorted(parent.glob(f'*/{SCORES}'), reverse=True):
            found = _locked(path.parent) if _cut_off(path.parent, fingerprint) else None
            if found is not None:
                return RunFolder(path.parent, 'cut off', found)
    if resume:
        raise ConfigError(_nothing_to_resume(parent))
    return _new_folder(parent)


def check_choice(parent: Path, *, work_dir: Path | None, resume: bool | None) -> None:
    """Refuse before any work what :func:`choose_folder` could only refuse after it.

    Args:
        parent, work_dir, resume: as there.

    Raises:
        ConfigError: as there, as far as the weights have no say in it.
        OSError: the folder can neither be made nor written.
    """
    if work_dir is not None:
        _stores_of(work_dir, resume)
    elif resume and not any(parent.glob(f'*/{SCORES}/*.sqlite')):
        raise ConfigError(_nothing_to_resume(parent))
    if work_dir is None:
        check_folder(parent, 'the folder of the results,')
    else:
        check_folder(work_dir, '--work-dir')


def _chosen(path: Path, fingerprint: Mapping[str, str], resume: bool | None) -> RunFolder:
    stores, finished = _stores_of(path, resume)
    for store in stores:
        differing = differing_parts(fingerprint, read_fingerprint(store))
        if differing:
            raise StoreError(
                f'{path} holds scores of a run with other {", ".join(differing)}: they are not '
                f'mixed; choose another --work-dir'
            )
    lock = _locked(path)
    if lock is None:
        owner = (path / SCORES / LOCK).read_text(encoding='utf-8').strip()
        raise ConfigError(f'{path} is being written by another process ({owner or "unknown"})')
    return RunFolder(path, 'finished' if finished else 'cut off' if stores else 'new', lock)


def _nothing_to_resume(parent: Path) -> str:
    return (
        f'--resume: {parent} holds no run of this config, checkpoint, data and schedules that was '
        f'cut off'
    )


def _stores_of(path: Path, resume: bool | None) -> tuple[list[Path], bool]:
    """Stored scores of a folder, and whether its run was finished."""
    stores, finished = list((path / SCORES).glob('*.sqlite')), (path / RESULTS).exists()
    if resume and not stores:
        raise ConfigError(f'--resume: {path} holds no scores to go on with')
    if finished and not stores:
        raise ConfigError(f'--work-dir {path} already holds {RESULTS}: choose another folder')
    if stores and resume is False:
        raise ConfigError(
            f'--no-resume: {path} already holds scores; choose another --work-dir, or go on with '
            f'--resume'
        )
    return stores, finished


def _cut_off(path: Path, fingerprint: Mapping[str, str]) -> bool:
    stores = list((path / SCORES).glob('*.sqlite'))
    if not stores or (path / RESULTS).exists():
        return False
    try:
        return not any(differing_parts(fingerprint, read_fingerprint(store)) for store in stores)
    except StoreError:
        return False


def _new_folder(parent: Path) -> RunFolder:
    """A folder of this second; jobs of an array start in the same one."""
    parent.mkdir(parents=True, exist_ok=True)
    name, number = time.strftime('%Y%m%d_%H%M%S'), 1
    while True:
        path = parent / (name if number == 1 else f'{name}-{number}')
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
            continue
        return RunFolder(path, 'new', _locked(path))


def _locked(path: Path) -> IO[str] | None:
    """Lock a folder for this process; None if another one holds it."""
    (path / SCORES).mkdir(parents=True, exist_ok=True)
    file = (path / SCORES / LOCK).open('a+', encoding='utf-8')
    if lockf is not None:
        try:
            # A record lock: the children of a killed process do not keep it.
            lockf(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError:  # a file system without locks: the user must take care
            pass
    with naming(path):
        file.truncate(0)
        file.write(f'process {os.getpid()} on {socket.gethostname()}\n')
        file.flush()
    return file


def fingerprint_of(
    config: Config, model: nn.Module, dataset: Any, variants: Sequence[Variant], precision: str
) -> dict[str, str]:
    """Digests of weights, model, data, pipeline and variants.

    Settings that change no score are left out: workers, batch size, chunks of views, time limits,
    folders of results.

    Args:
        config: with model and test_dataloader.
        model: with its weights loaded.
        dataset: the built test data set.
        variants: that are evaluated.
        precision: 'fp32', 'bf16' or 'fp16'.

    Returns:
        Name of the part, as a message would call it, to 16 hexadecimal digits.
    """
    loader = config.test_dataloader
    videos = [dataset.get_data_info(i) for i in range(len(dataset))]
    parts = {
        'weights': _digest_of_weights(model),
        'model settings': _digest(config.model),
        'test pipeline': _digest(loader.dataset.get('pipeline')),
        # decord shows other frames than PyAV where it cannot index a file.
        'decoders': _digest(getattr(dataset, 'decoders', None)),
        'videos': _digest([(legible(video['filename']), video['label']) for video in videos]),
        'schedules or pruners': _digest([dataclasses.astuple(variant) for variant in variants]),
        'precision': precision,
        'format of the stored scores': str(STORE_FORMAT),
    }
    return parts


def _digest_of_weights(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(plain.numpy().data)
    return digest.hexdigest()[:16]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return repr(value)
