"""Which videos are scored together, by whom, and how a batch with broken ones is put together."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from sta.datasets.guard import through_memory
from sta.datasets.video_list import BrokenVideo
from sta.errors import DataError

from .command_line import how_a_worker_died
from .shard import WHOLE, Shard


class Batch(NamedTuple):
    """What the data loader hands over.

    Attributes:
        data: lists of inputs and data samples; None where every video is broken.
        broken: the others.
    """

    data: dict[str, Any] | None
    broken: list[BrokenVideo]


def plan_batches(
    num_videos: int, batch_size: int, done: Container[int], shard: Shard = WHOLE
) -> list[range]:
    """The batches of a shard that hold anything yet to do.

    Batches are cut from the whole list, whatever is done and however many processes there are, so
    that a video always meets the same neighbours and gets the same score to the last bit.

    Args:
        num_videos: of the list.
        batch_size: videos per batch; the last one may be smaller.
        done: places that are finished.
        shard: every so many-th batch; default all.
    """
    batches = (
        range(start, min(start + batch_size, num_videos))
        for start in range((shard.number - 1) * batch_size, num_videos, shard.count * batch_size)
    )
    return [batch for batch in batches if not all(place in done for place in batch)]


def collate(samples: Sequence[dict[str, Any] | BrokenVideo]) -> Batch:
    """Put the sound ones into lists, the broken ones beside them."""
    broken = [sample for sample in samples if isinstance(sample, BrokenVideo)]
    sound = [sample for sample in samples if not isinstance(sample, BrokenVideo)]
    return Batch(pseudo_collate(sound) if sound else None, broken)


def load_batches(like: DataLoader, batches: Sequence[range]) -> Iterator[Batch]:
    """Load these batches, in this order, with the workers of a data loader.

    Args:
        like: a built data loader; its sampler and collation are not used.
        batches: places in its data set.

    Raises:
        DataError: the workers cannot be started.
    """
    if not batches:
        return iter(())
    loader = DataLoader(
        like.dataset,
        batch_sampler=[list(batch) for batch in batches],
        num_workers=like.num_workers,
        collate_fn=collate,
        pin_memory=like.pin_memory,
        worker_init_fn=like.worker_init_fn,
        prefetch_factor=like.prefetch_factor,
        multiprocessing_context=like.multiprocessing_context,
    )
    try:
        return iter(through_memory(loader))
    except OSError as error:
        raise DataError(
            f'{like.num_workers} data loading workers cannot be started: {error.strerror}; '
            f'run the same command again with {_fewer("test_dataloader")}'
        ) from None


@contextmanager
def living_workers(
    part: str = 'test_dataloader', *, again: str = 'run the same command again'
) -> Iterator[None]:
    """Say in one line that a data loading worker died, how, and what helps; around a loop.

    torch raises it wherever the loop happens to be.

    Args:
        part: of the config that describes the data loader.
        again: what to do, but for the settings that help.

    Raises:
        DataError: one died, or its decoding process again and again.
    """
    try:
        yield
    except Exception as error:  # whatever was made of it where it was raised
        died = how_a_worker_died(error)
        if died is None:
            raise
        raise DataError(f'{died}; {again} with {_fewer(part)}') from None


def _fewer(part: str) -> str:
    return f'fewer workers (--cfg-options {part}.num_workers=N, 0 for none) or more memory'


def timed(batches: Iterable[Any]) -> Iterator[tuple[Any, float]]:
    """Pair every batch with the seconds it was waited for."""
    iterator = iter(batches)
    while True:
        start = time.perf_counter()
        try:
            batch = next(iterator)
        except StopIteration:
            return
        yield batch, time.perf_counter() - start
