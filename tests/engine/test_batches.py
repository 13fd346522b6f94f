"""Which videos are scored together: cut from the whole list, whatever is done already."""

from __future__ import annotations

import pytest

from sta.datasets.video_list import BrokenVideo
from sta.engine.batches import collate, plan_batches


@pytest.mark.parametrize(
    ('num_videos', 'batch_size', 'done', 'expected'),
    [
        (5, 2, (), [[0, 1], [2, 3], [4]]),
        (5, 2, (0, 1), [[2, 3], [4]]),
        (5, 2, (1, 4), [[0, 1], [2, 3]]),  # half a batch is a whole one: the same neighbours
        (4, 8, (), [[0, 1, 2, 3]]),
        (4, 2, (0, 1, 2, 3), []),
        (3, 1, (1,), [[0], [2]]),
    ],
)
def test_batches(num_videos: int, batch_size: int, done: tuple, expected: list) -> None:
    assert [list(batch) for batch in plan_batches(num_videos, batch_size, done)] == expected


def test_broken_videos_stand_beside_the_others() -> None:
    broken = [BrokenVideo(1, 'b.mp4', 0, 'it is empty'), BrokenVideo(3, 'd.mp4', 1, 'it is text')]
    sound = [dict(inputs=10, data_samples='a'), dict(inputs=12, data_samples='c')]
    batch = collate([sound[0], broken[0], sound[1], broken[1]])
    assert batch.data == dict(inputs=[10, 12], data_samples=['a', 'c'])
    assert batch.broken == broken


def test_nothing_but_broken_videos() -> None:
    broken = [BrokenVideo(0, 'a.mp4', 0, 'it is empty')]
    assert collate(broken) == (None, broken)
