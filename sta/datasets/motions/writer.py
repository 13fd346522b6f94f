"""Write a split: clips in parallel, each one whole or not at all, then the lists that name them."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2

from sta.atomic import write_bytes
from sta.datasets.motions.classes import CLASS_NAMES, label_of_index
from sta.datasets.motions.clip import ClipSource
from sta.errors import MotionsError

# To be raised with every change of the pictures or of the encoding: clips of two kinds never mix.
RENDERING_VERSION = 1
CLIPS_PER_JOB = 8


@dataclass(frozen=True)
class SplitReport:
    """What ``write_split`` did: clips written, clips found already there, bytes of all of them."""

    num_written: int
    num_skipped: int
    num_bytes: int


def clip_path(split: str, index: int) -> str:
    """Return the path of a clip below the data set's folder, e.g. val/left_to_right_000000.mp4."""
    return f'{split}/{CLASS_NAMES[label_of_index(index)]}_{index:06d}.mp4'


def write_split(
    source: ClipSource,
    out: Path,
    *,
    num_clips: int,
    num_workers: int = 1,
    on_progress: Callable[[int], None] = lambda count: None,
) -> SplitReport:
    """Write clips 0 to ``num_clips`` - 1 of a split and, when all are there, its list.

    Clips that are already there are kept, so a run that was killed goes on where it stopped.

    Args:
        source: split, seed, size and difficulty.
        out: the data set's folder; gets SPLIT/, SPLIT.txt, SPLIT.json and classes.txt.
        num_clips: at least 1; of the val split a multiple of the number of classes.
        num_workers: processes; 1 renders in this process.
        on_progress: called with the number of clips that have come to be there since the last call.

    Raises:
        MotionsError: a number out of range, clips of another making in the folder, a failed write.
    """
    _check_numbers(source, num_clips, num_workers)
    try:
        _claim_folder(source, out)
        missing = [i for i in range(num_clips) if not (out / clip_path(source.split, i)).exists()]
        on_progress(num_clips - len(missing))
        for count in _write_clips(source, out, missing, num_workers):
            on_progress(count)
        sizes = _write_lists(source, out, num_clips)
    except BrokenProcessPool:
        raise MotionsError(
            'a worker process died, perhaps for want of memory: run the same command again with '
            'fewer --workers, finished clips are kept'
        ) from None
    except OSError as error:
        where = error.filename or out
        raise MotionsError(f'cannot write to {where}: {error.strerror or error}') from error
    return SplitReport(len(missing), num_clips - len(missing), sum(sizes))


def _check_numbers(source: ClipSource, num_clips: int, num_workers: int) -> None:
    """Raise MotionsError for numbers that make no split."""
    num_classes = len(CLASS_NAMES)
    if num_clips < 1:
        raise MotionsError(f'the number of clips must be at least 1, got {num_clips}')
    if source.split == 'val' and num_clips % num_classes:
        raise MotionsError(
            f'the val split is balanced: its number of clips must be a multiple of {num_classes}, '
            f'got {num_clips}'
        )
    if num_workers < 1:
        raise MotionsError(f'the number of workers must be at least 1, got {num_workers}')


def _claim_folder(source: ClipSource, out: Path) -> None:
    """Make the split's folder and note how its clips are made; refuse clips of another making."""
    folder, note = out / source.split, out / f'{source.split}.json'
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({'rendering': RENDERING_VERSION, **asdict(source)}, indent=1) + '\n'
    found = note.read_text() if note.exists() else None
    if found != content and any(folder.glob('*.mp4')):
        raise MotionsError(
            f'{folder} holds clips made with another seed, size, difficulty or version of the '
            'generator: delete it or choose another --out'
        )
    write_bytes(note, content.encode())


def _write_clips(
    source: ClipSource, out: Path, indices: list[int], num_workers: int
) -> Iterator[int]:
    """Render and write clips; yields how many each finished job has written."""
    jobs = [indices[i : i + CLIPS_PER_JOB] for i in range(0, len(indices), CLIPS_PER_JOB)]
    if num_workers == 1:
        yield from (_write_job(source, out, job) for job in jobs)
        return
    # Spawned, not forked: video libraries hold threads and locks that do not survive a fork.
    context = multiprocessing.get_context('spawn')
    num_workers = min(num_workers, max(len(jobs), 1))
    pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_start_worker)
    try:
        futures = [pool.submit(_write_job, source, out, job) for job in jobs]
        yield from (future.result() for future in as_completed(futures))
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Set up a worker: one core each, and an interrupt is the parent's to handle."""
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write_job(source: ClipSource, out: Path, indices: list[int]) -> int:
    """Write some clips; returns how many."""
    for index in indices:
        write_bytes(out / clip_path(source.split, index), source.mp4(index))
    return len(indices)


def _write_lists(source: ClipSource, out: Path, num_clips: int) -> list[int]:
    """Write SPLIT.txt and classes.txt; returns the size of each clip in bytes."""
    paths = [clip_path(source.split, index) for index in range(num_clips)]
    lines = [f'{path} {label_of_index(index)}\n' for index, path in enumerate(paths)]
    write_bytes(out / 'classes.txt', ''.join(f'{name}\n' for name in CLASS_NAMES).encode())
    write_bytes(out / f'{source.split}.txt', ''.join(lines).encode())
    return [(out / path).stat().st_size for path in paths]
