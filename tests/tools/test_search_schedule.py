"""A whole search from the command line: the config it leaves runs and says the same."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from sta.engine.config import load_config
from sta.search import SearchClips

from .tiny import NUM_VIDEOS, Tiny, run_tool, write_video

SEARCH = ('--budget', '0.8', '--trials', 2, '--search-videos', 3)
PIPELINE = 'test_dataloader.dataset.pipeline'


def searched(tiny: Tiny, out: Path, *arguments: object) -> int:
    command = ('search_schedule', tiny.one_view, tiny.checkpoint, *SEARCH, '--out', out)
    return run_tool(*command, *arguments)


@pytest.fixture(scope='module')
def search(tiny, tmp_path_factory) -> tuple[Path, str]:
    """The folder of one that ended, and what was said."""
    out, said = tmp_path_factory.mktemp('search') / 'search', io.StringIO()
    with redirect_stdout(said):
        assert searched(tiny, out) == 0
    return out, said.getvalue()


def test_the_config_that_was_found_runs_and_says_the_same(tiny, tmp_path, search) -> None:
    out, said = search
    assert f'searching on 3 videos, comparing on {NUM_VIDEOS - 3}' in said
    found = json.loads((out / 'search.json').read_text())
    assert found['num_trials'] == 2
    assert found['searched']['divergence_nats'] <= found['paper']['divergence_nats']
    names = [(out / name).read_text().splitlines() for name in ('search.txt', 'heldout.txt')]
    assert len(names[0]) == 3 and len(set(names[0]) | set(names[1])) == NUM_VIDEOS
    config = out / 'one_view_0.8.py'
    assert load_config(str(config)).test_cfg.schedules[2]['schedule'] == found['stages']
    work = tmp_path / 'run'
    list_option = f'test_dataloader.dataset.ann_file={out / "heldout.txt"}'
    command = ('test', config, tiny.checkpoint, '--work-dir', work, '--cfg-options', list_option)
    assert run_tool(*command) == 0

    def rows(path: Path) -> list[list[str]]:
        with path.open() as file:
            return [
                [r['name'], r['gflops_per_view'], r['top1_percent']] for r in csv.DictReader(file)
            ]

    (heldout,) = out.glob('heldout_*/results.csv')
    assert rows(work / 'results.csv') == rows(heldout)
    points = re.search(r'same cost, 4 held-out videos: (\S+) points', said)[1]
    paper, best = (float(row[2]) for row in rows(heldout)[1:])
    assert float(points) == pytest.approx(best - paper, abs=0.01)
    whole, cost = float(rows(heldout)[0][1]), float(rows(heldout)[2][1])
    assert cost <= 0.8 * whole and cost == pytest.approx(found['gflops_per_view'])


def test_videos_of_ones_own_and_a_search_gone_on_with(tiny, tmp_path, capsys) -> None:
    folder = tiny.folder / 'videos'
    out = tmp_path / 'search'
    assert searched(tiny, out, '--clips', folder) == 0
    said = capsys.readouterr().out
    assert f'comparing on {NUM_VIDEOS} videos, 3 of them searched on (same file or equal' in said
    assert '7 videos, 3 of them searched on: ' in said and 'cost, 4 held-out videos: ' in said
    assert searched(tiny, out, '--clips', folder, '--trials', 3) == 0
    assert json.loads((out / 'search.json').read_text())['num_trials'] == 3
    assert searched(tiny, out) == 2
    assert 'search with other videos' in capsys.readouterr().err


def test_overlap_is_found_by_content_and_none_is_called_held_out(tiny, tmp_path, capsys) -> None:
    """All under other names; then two of them beside one that is not in the list."""
    copies = tmp_path / 'copies'
    copies.mkdir()
    for i, name in enumerate(tiny.names):
        shutil.copy(tiny.folder / 'videos' / name, copies / f'{9 - i}.mp4')
    out = tmp_path / 'all'
    assert searched(tiny, out, '--clips', copies, '--search-videos', 9) == 0
    said = capsys.readouterr().out
    assert 'comparing on 7 videos, all of them searched on (same file or equal content)' in said
    assert 'same cost, 7 videos, all of them searched on: ' in said
    assert not list(out.glob('heldout*')) and list(out.glob('compared_*/results.json'))
    told = [said, *(path.read_text() for path in (out / 'one_view_0.8.py', out / 'search.json'))]
    told += [path.read_text() for path in out.glob('compared_*/results.*')]
    assert len(told) == 6 and not any('held-out' in text for text in told)
    assert '(7 of them searched on)' in told[-1]
    for path in list(copies.glob('*'))[2:]:
        path.unlink()
    write_video(copies / 'new.mp4', seed=50, num_frames=30)
    out = tmp_path / 'two'
    assert searched(tiny, out, '--clips', copies, '--search-videos', 9) == 0
    said = capsys.readouterr().out
    assert 'comparing on 7 videos, 2 of them searched on' in said
    assert 'same cost, 7 videos, 2 of them searched on: ' in said
    assert 'same cost, 5 held-out videos: ' in said
    assert len((out / 'heldout.txt').read_text().splitlines()) == 5
    for path in copies.glob('?.mp4'):
        path.unlink()
    assert searched(tiny, tmp_path / 'none', '--clips', copies) == 0
    said = capsys.readouterr().out
    assert 'comparing on 7 held-out videos\n' in said and 'cost, 7 held-out videos: ' in said


def test_a_sample_of_the_list_is_not_called_all_of_it(tiny, tmp_path, capsys) -> None:
    options = ('--cfg-options', 'test_dataloader.dataset.max_videos=2')
    assert searched(tiny, tmp_path / 'search', *options) == 0
    said = capsys.readouterr().out
    assert 'comparing on 2 drawn (max_videos) from 4 held-out videos, without the 3 of 7' in said
    assert 'same cost, 2 held-out videos: ' in said
    found = json.loads((tmp_path / 'search/search.json').read_text())
    assert found['compared_on'].startswith('2 drawn (max_videos) from 4 held-out videos')


def test_a_copy_in_the_list_is_not_held_out(tiny, tmp_path, child, capsys) -> None:
    """Every video is listed again as a copy of another name and class: three leave six out."""
    copies = tmp_path / 'copies'
    copies.mkdir()
    lines = []
    for i, name in enumerate(tiny.names):
        shutil.copy(tiny.folder / 'videos' / name, copies / f'{i}.mp4')
        lines += [f'{tiny.folder}/videos/{name} {i}', f'{copies}/{i}.mp4 {6 - i}']
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    text = f'test_dataloader = dict(dataset=dict(ann_file={str(tmp_path / "list.txt")!r}))'
    assert run_tool('search_schedule', child(text), tiny.checkpoint, *SEARCH, '--out', 'out') == 0
    (number,) = re.findall(r'comparing on (\d+) held-out', capsys.readouterr().out)
    names = [Path('out', name).read_text() for name in ('search.txt', 'heldout.txt')]
    contents = [
        {Path(line.rpartition(' ')[0]).read_bytes() for line in text.splitlines()} for text in names
    ]
    assert not contents[0] & contents[1]
    assert int(number) == 2 * len(contents[1]) == 14 - 2 * len(contents[0])


def test_a_refused_search_leaves_everything_as_it_was(tiny, search, refused, monkeypatch) -> None:
    out, _ = search
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert {'search.txt', 'heldout.txt', 'search.json'} <= {path.name for path in before}
    monkeypatch.setattr(SearchClips, 'of', lambda dataset: pytest.fail('it decoded videos'))
    for changed, words in {
        ('--search-videos', 4): 'other videos and other held-out videos',
        ('--budget', 0.7): '--budget 0.8, not 0.7',
        ('--num-stages', 2): '--num-stages 3, not 2',
        ('--pruner', 'tome'): '--pruner sta, not tome',
        ('--seed', 5): '--seed 0, not 5',
        ('--cfg-options', f'{PIPELINE}.3.crop_size=30'): 'other test pipeline',
    }.items():
        command = ('search_schedule', tiny.one_view, tiny.checkpoint, *SEARCH, '--out', out)
        said = f'holds a search with {words}: choose another --out'
        refused(*command, *changed, said=(said,))
        assert {path: path.read_bytes() for path in before} == before


def test_an_interrupt_ends_in_one_line_and_the_paper_is_tried_after_it(
    tiny, tmp_path, capsys, monkeypatch
) -> None:
    def interrupted(*arguments, **settings):
        def distance(stages):
            raise KeyboardInterrupt

        return distance

    out = tmp_path / 'search'
    with monkeypatch.context() as patched:
        patched.setattr('sta.search.objective_of', interrupted)
        assert searched(tiny, out) == 130
    assert capsys.readouterr().err.strip() == 'interrupted'
    assert searched(tiny, out, '--cfg-options', 'test_cfg.max_views_per_forward=3') == 0
    assert '2/2 schedules tried' in capsys.readouterr().out
    found = json.loads((out / 'search.json').read_text())
    assert found['num_trials'] == 2
    assert found['searched']['divergence_nats'] <= found['paper']['divergence_nats']
    assert load_config(str(out / 'one_view_0.8.py')).test_cfg.max_views_per_forward == 3


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('--budget', '1.2'), ('between 0 and 1', '1.2')),
        (('--budget', '0.01'), ('budget 0.01', 'at least')),
        (('--trials', '0'), ('--trials must be at least 1',)),
        (('--num-stages', '9'), ('9 stages do not fit',)),
        (('--seed', '-1'), ('--seed must be between 0 and 4294967295, got -1',)),
        (('--seed', '5000000000'), ('--seed must be between 0 and 4294967295',)),
        (('--cfg-options', 'test_cfg=3'), ('test_cfg must be a dict, got 3',)),
        (('--cfg-options', 'test_cfg.x=1e999'), ("'test_cfg' cannot be written into",)),
        (('--search-videos', '7'), ('leaves none of the 7 videos',)),
        (('--clips', 'nowhere'), ('nowhere does not exist',)),
        (('--pruner', 'stta'), ("unknown pruner 'stta'",)),
        (('--pruner', 'rlt'), ('run-length tokenization', 'takes no schedule')),
        # Said before the model is built.
        (('--out', 'file.py'), ('--out file.py is a file: name a folder',)),
        (('--out', 'file.py/deeper'), ('--out file.py/deeper cannot be written: Not a directory',)),
        (('--out', '/proc'), ('--out /proc cannot be written',)),
    ],
)
def test_what_can_go_wrong(tiny, refused, monkeypatch, arguments, words) -> None:
    Path('file.py').touch()
    if arguments[0] == '--out':
        name = 'sta.engine.session.build_model'
        monkeypatch.setattr(name, lambda config: pytest.fail('it built the model'))
    command = ('search_schedule', tiny.one_view, tiny.checkpoint, *SEARCH, '--out', 'search')
    refused(*command, *arguments, said=words)
