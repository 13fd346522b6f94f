"""Which videos are trained on: by hand, by property, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from sta.datasets.annotations import Annotation
from sta.datasets.preparation.splitting import Split, SplitSettings, given_split, made_split
from sta.errors import DataError

NAMES = ('fall', 'run', 'sit')


def videos_of(folder: Path, sizes: Sequence[int]) -> list[Annotation]:
    """Files with different contents, clip 0.mp4 ... of every class."""
    videos = []
    for label, size in enumerate(sizes):
        (folder / NAMES[label]).mkdir(parents=True, exist_ok=True)
        for i in range(size):
            path = f'{NAMES[label]}/clip {i}.mp4'
            (folder / path).write_text(path)
            videos.append(Annotation(path, label))
    return videos


def split(
    videos: Sequence[Annotation], folder: Path, groups: dict[str, str] | None = None, **settings
) -> Split:
    facts = dict(class_names=NAMES, folder=folder, groups=groups or {})
    return made_split(videos, SplitSettings(**settings), **facts)


def numbers(part: Sequence[Annotation]) -> list[int]:
    return [sum(video.label == label for video in part) for label in range(3)]


def test_every_class_gives_its_share(tmp_path) -> None:
    videos = videos_of(tmp_path, (10, 5, 2))
    found = split(videos, tmp_path)
    assert numbers(found.parts['val']) == [2, 1, 1]
    assert sorted(found.parts['train'] + found.parts['val']) == sorted(videos)
    assert found.notes == (
        'split: 13 videos to train on, 4 to evaluate (20 % of every class, drawn with seed 0)',
    )
    assert found.evaluated == found.watched == 'val'


def test_the_draw_depends_on_names_and_seed_alone(tmp_path) -> None:
    videos = videos_of(tmp_path / 'a', (30, 30, 0))
    first = split(videos, tmp_path / 'a')
    assert set(split(videos[::-1], tmp_path / 'a').parts['val']) == set(first.parts['val'])
    assert set(split(videos, tmp_path / 'a', seed=1).parts['val']) != set(first.parts['val'])
    more = videos_of(tmp_path / 'a', (30, 30, 8))
    assert set(first.parts['val']) < set(split(more, tmp_path / 'a').parts['val'])


def test_the_last_by_number(tmp_path) -> None:
    found = split(videos_of(tmp_path, (12, 6, 0)), tmp_path, share=0.25, order='ordered')
    assert [path for path, _ in found.parts['val']] == [
        *(f'fall/clip {i}.mp4' for i in (9, 10, 11)),
        *(f'run/clip {i}.mp4' for i in (4, 5)),
    ]
    assert '13 videos to train on, 5 to evaluate (25 % of every class, the last by name)' in str(
        found.notes
    )


def test_groups_are_not_parted(tmp_path) -> None:
    videos = videos_of(tmp_path, (20, 20, 0))
    # Clips 4k ... 4k + 3 of both classes come from one recording.
    groups = {path: str(int(path.split()[1][:-4]) // 4) for path, _ in videos}
    found = split(videos, tmp_path, groups)
    parts = {name: {groups[path] for path, _ in part} for name, part in found.parts.items()}
    assert parts['train'].isdisjoint(parts['val']) and len(parts['val']) == 1
    assert numbers(found.parts['val']) == [4, 4, 0]
    assert 'kept together: 5 groups of 40 videos' in found.notes[1]
    tens = split(videos, tmp_path, group_by=r'clip (1?)\d+', share=0.5)
    assert {int(path.split()[1][:-4]) // 10 for path, _ in tens.parts['val']} in ({0}, {1})


def test_copies_are_not_parted(tmp_path) -> None:
    videos = videos_of(tmp_path, (8, 8, 0))
    for path, _ in videos[:4] + videos[8:12]:
        (tmp_path / path).write_text('the same file')
    for seed in range(5):
        found = split(videos, tmp_path, seed=seed, share=0.5)
        assert len({part for part, lists in found.parts.items() if videos[0] in lists}) == 1
        same = [set(videos[:4] + videos[8:12]) <= set(part) for part in found.parts.values()]
        assert any(same)


def test_a_class_of_one_video_is_trained_on_and_named(tmp_path) -> None:
    found = split(videos_of(tmp_path, (5, 1, 0)), tmp_path)
    assert numbers(found.parts['train']) == [4, 1, 0]
    assert found.notes[-1] == "warning: no video of 1 class is evaluated, e.g. 'run'"
    alone = split(videos_of(tmp_path / 'b', (1, 1, 1)), tmp_path / 'b')
    assert set(alone.parts) == {'val'} and 'none is trained on' in alone.notes[0]
    everything = split(videos_of(tmp_path / 'c', (5, 5, 0)), tmp_path / 'c', share=1)
    assert set(everything.parts) == {'val'} and len(everything.parts['val']) == 10


def test_a_given_split(tmp_path) -> None:
    videos = videos_of(tmp_path, (3, 3, 0))
    (tmp_path / videos[0].path).write_bytes((tmp_path / videos[2].path).read_bytes())
    names = ('train', 'val', 'test', 'train', 'train', 'train')
    splits = {video.path: name for video, name in zip(videos, names)}
    groups = {videos[1].path: 'a', videos[3].path: 'a', videos[4].path: 'b'}
    facts = dict(class_names=NAMES, folder=tmp_path, groups=groups)
    found = given_split(videos, splits, **facts)
    assert {name: len(part) for name, part in found.parts.items()} == dict(train=4, val=1, test=1)
    assert (found.evaluated, found.watched) == ('test', 'val')
    assert found.notes[0] == 'split as given: 4 videos train, 1 video val, 1 video test'
    assert 'copies, e.g. fall/clip 2.mp4 and fall/clip 0.mp4' in found.notes[1]
    assert 'videos of one group, e.g. fall/clip 1.mp4 and run/clip 0.mp4' in found.notes[2]
    assert "no video of 1 class is evaluated, e.g. 'run'" in found.notes[3]
    with pytest.raises(DataError, match='nothing is left to evaluate'):
        given_split(videos, dict.fromkeys(splits, 'train'), **facts)


@pytest.mark.parametrize(
    ('settings', 'said'),
    [
        (dict(share=0), 'above 0 and at most 1'),
        (dict(share=1.5), 'got 1.5'),
        (dict(share=float('nan')), 'got nan'),
        (dict(order='even'), "'even'"),
        (dict(group_by='('), 'is no pattern'),
    ],
)
def test_settings_that_cannot_be(settings, said) -> None:
    with pytest.raises(DataError, match=said):
        SplitSettings(**settings)


def test_a_pattern_that_finds_nothing(tmp_path) -> None:
    with pytest.raises(DataError, match=r'finds nothing in fall/clip 0.mp4'):
        split(videos_of(tmp_path, (2, 0, 0)), tmp_path, group_by=r'_g\d+')
