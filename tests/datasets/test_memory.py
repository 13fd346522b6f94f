"""Opening thousands of videos, broken ones among them, takes no more memory than opening some."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mmengine.registry import init_default_scope

from sta.datasets.video_list import BrokenVideo
from tests.datasets.movies import BROKEN, write_movie
from tests.datasets.test_video_list import dataset

OPENS = 2000
ALLOWED_MB = 40


def memory_mb() -> float:
    """Resident memory of this process and of the one that decodes for it."""
    family = [
        os.getpid(),
        *map(
            int, Path('/proc/self/task').joinpath(str(os.getpid()), 'children').read_text().split()
        ),
    ]
    pages = sum(int(Path(f'/proc/{pid}/statm').read_text().split()[1]) for pid in family)
    return pages * os.sysconf('SC_PAGE_SIZE') / 1e6


@pytest.mark.slow
def test_memory_does_not_grow_over_two_thousand_opens(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    init_default_scope('mmaction')
    names = ['whole.mp4', 'noise.mp4', 'cut_behind_index.mp4', 'sound.mp4']
    write_movie(tmp_path / names[0], num_frames=40, width=320, height=240)
    for name in names[1:]:
        BROKEN[name][0](tmp_path / name)
    videos = dataset(tmp_path, *names)
    seen = []
    for i in range(OPENS):
        assert isinstance(videos[i % 4], BrokenVideo) == (i % 4 != 0)
        if i % 200 == 199:
            seen.append(memory_mb())
    with capsys.disabled():
        print(f'\n{OPENS} opens, MB at every 200th: {" ".join(f"{mb:.0f}" for mb in seen)}')
    assert max(seen[1:]) - seen[0] < ALLOWED_MB
