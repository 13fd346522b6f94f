"""Examples of an evaluation from the command line: there by default, and never in its way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sta.report import read_scores

from .tiny import Tiny, run_tool

pytestmark = pytest.mark.usefixtures('examples')


def evaluate(tiny: Tiny, folder: Path, *arguments: object, config: Path | None = None) -> Path:
    given = (config or tiny.one_view, tiny.checkpoint, '--work-dir', folder, *arguments)
    assert run_tool('test', *given) == 0
    return folder


def listed(folder: Path) -> dict:
    return json.loads((folder / 'examples' / 'examples.json').read_text())


def test_four_by_default_with_every_stage(tiny, tmp_path) -> None:
    folder = evaluate(tiny, tmp_path / 'run', '--pruners', 'tome', 'sta')
    found = listed(folder)
    scores = read_scores(folder / 'scores.npz')
    best = dict(zip(scores.variants, scores.scores.argmax(2), strict=True))
    names = [Path(name).name for name in scores.names]
    assert found['note'].startswith('What sta-4 keeps.')  # merged tokens cannot be shown
    assert len(found['examples']) == 4
    for example in found['examples']:
        place = names.index(example['name'])
        changed = best['unpruned'][place] != best['sta-4'][place]
        said = 'changed' if changed else 'unchanged'
        assert f'Prediction {said}.' in example['caption']
        labels = [strip['label'] for strip in example['strips']]
        tokens = [int(label.split(': ')[1].split()[0]) for label in labels[1:]]
        assert tokens == [96, 80, 72]  # as results.json has them
        for strip in example['strips']:
            picture = Image.open(folder / 'examples' / strip['image'])
            assert picture.size == (strip['width'], strip['height'])
            assert len(np.unique(np.asarray(picture).reshape(-1, 4), axis=0)) > 20
    page = (folder / 'report.html').read_text()
    assert page.count('<img alt="after stage') == 12
    assert all(example['name'] in page for example in found['examples'])


def test_a_view_of_several_is_named(tiny, tmp_path) -> None:
    found = listed(evaluate(tiny, tmp_path / 'run', '--examples', 1, config=tiny.six_views))
    [example] = found['examples']
    assert example['caption'].endswith('Shown is clip 2 of 2, the middle of 3 crops.')


def test_none_where_none_are_wanted(tiny, tmp_path) -> None:
    folder = evaluate(tiny, tmp_path / 'run', '--examples', 0)
    assert not (folder / 'examples').exists()
    assert '--examples N makes them' in (folder / 'report.html').read_text()


def test_pruners_that_merge_have_none_and_the_page_says_so(tiny, tmp_path, capsys) -> None:
    folder = evaluate(tiny, tmp_path / 'run', '--pruners', 'tome')
    reason = 'No example clips: no variant drops tokens that have a place.'
    assert listed(folder) == {'note': reason, 'examples': []}
    assert reason in (folder / 'report.html').read_text()
    assert reason in capsys.readouterr().out


def test_videos_that_are_gone_meanwhile_do_not_sink_the_evaluation(
    tiny, tmp_path, monkeypatch
) -> None:
    """Scores are stored, the run was cut off before its results, and the disk is away."""
    folder = evaluate(tiny, tmp_path / 'run', '--examples', 0)
    (folder / 'results.json').unlink()
    shutil.rmtree(folder / 'examples', ignore_errors=True)
    broken = 'sta.visualization.examples.read_views'
    from sta.visualization.examples import BrokenVideo

    def gone(config, model, files):
        return (BrokenVideo(i, str(file), 0, 'it is gone') for i, file in enumerate(files))

    monkeypatch.setattr(broken, gone)
    evaluate(tiny, folder)
    assert (folder / 'results.json').is_file()
    note = listed(folder)['note']
    assert note.count('could not be decoded again: it is gone') == 4
    assert 'it is gone' in (folder / 'report.html').read_text()


def test_whatever_goes_wrong_the_results_stand(tiny, tmp_path, monkeypatch, capsys) -> None:
    def fails(model, clip):
        raise RuntimeError('CUDA out of memory.\nTry this and that')

    monkeypatch.setattr('sta.visualization.examples.record', fails)
    folder = evaluate(tiny, tmp_path / 'run')
    assert listed(folder)['note'] == 'No example clips: CUDA out of memory.'
    assert (folder / 'results.json').is_file() and (folder / 'report.html').is_file()
    assert 'No example clips: CUDA out of memory.' in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize('number', [-1, 21])
def test_a_number_out_of_range_is_one_line(tiny, tmp_path, number, capsys) -> None:
    given = (tiny.one_view, tiny.checkpoint, '--work-dir', tmp_path / 'run')
    assert run_tool('test', *given, '--examples', number) != 0
    assert f'--examples must be 0 to 20, got {number}' in capsys.readouterr().err
    assert not (tmp_path / 'run').exists()


@pytest.mark.pictures
def test_the_page_stays_small(tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr('sta.visualization.examples.MOST_BYTES', 30_000)
    folder = evaluate(tiny, tmp_path / 'run', '--examples', 7)
    found = listed(folder)
    shown = len(found['examples'])
    assert 1 <= shown < 7
    assert sum(path.stat().st_size for path in (folder / 'examples').glob('*.webp')) <= 30_000
    assert f'more than {shown} would make the page too large' in found['note']


def test_slow_models_show_fewer_unless_asked(tiny, tmp_path, monkeypatch) -> None:
    clock = iter(range(0, 10_000, 15))  # every look at the clock is 15 s later
    monkeypatch.setattr('sta.visualization.examples.time.monotonic', lambda: next(clock))
    found = listed(evaluate(tiny, tmp_path / 'a'))
    assert len(found['examples']) == 2 and 'would take too long' in found['note']
    assert len(listed(evaluate(tiny, tmp_path / 'b', '--examples', 4))['examples']) == 4
