"""The search on a cost and a distance that are written down, so that the best one is known."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from sta.errors import SearchError
from sta.search.space import ViTSpace
from sta.search.study import MAX_SEED, Distance, Found, open_study, search

SPACE = ViTSpace(depth=6, frames=8, tokens_per_frame=16, num_stages=3)
RUN = {'weights': 'a', 'videos': 'b'}


def gflops(stages) -> float:
    """Tokens times blocks behind each stage."""
    return 768 - sum(s['num_chunks'] * s['num_drop'] * (5 - s['after_block']) for s in stages)


def distance(stages) -> Distance:
    """Nearest when the first stage stands behind block 2."""
    return Distance(abs(stages[0]['after_block'] - 2) + 0.01 * len(stages), 90.0)


def run(
    path: Path,
    *,
    trials: int = 30,
    seed: int = 0,
    budget: float = 600.0,
    fingerprint=RUN,
    distance=distance,
    said=lambda line: None,
) -> Found:
    return search(
        open_study(path, fingerprint),
        SPACE,
        gflops,
        distance,
        budget=budget,
        num_trials=trials,
        seed=seed,
        said=said,
    )


class Spy:
    """The distance, with the schedules it was asked for; interrupted at the call of a number."""

    def __init__(self, stop_at: int | None = None, by: type = KeyboardInterrupt) -> None:
        self.seen: list = []
        self.stop_at, self.by = stop_at, by

    def __call__(self, stages) -> Distance:
        if len(self.seen) == self.stop_at:
            raise self.by
        self.seen.append(stages)
        return distance(stages)


def paper_trials(path: Path) -> list[str]:
    """States of the trials that are marked as the paper's."""
    trials = open_study(path, RUN).trials
    return [trial.state.name for trial in trials if trial.user_attrs.get('paper')]


def test_it_finds_what_is_nearest_and_never_worse_than_the_paper(tmp_path: Path) -> None:
    found = run(tmp_path / 's.sqlite')
    assert found.stages[0]['after_block'] == 2
    assert found.distance.divergence_nats < 1 < found.paper_distance.divergence_nats == 2.03
    assert found.gflops_per_view == gflops(found.stages) <= 600
    assert found.num_trials == 30
    assert run(tmp_path / 'one.sqlite', trials=1).distance.divergence_nats == 2.03


def test_equal_seeds_find_the_same_and_others_look_elsewhere(tmp_path: Path) -> None:
    def tried(name: str, seed: int) -> list:
        spy = Spy()
        run(tmp_path / name, trials=12, seed=seed, distance=spy)
        return spy.seen

    assert tried('a', 0) == tried('b', 0) != tried('c', 1)


def test_a_search_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / 's.sqlite'
    first = run(path, trials=5)
    lines: list[str] = []
    again = run(path, trials=12, said=lines.append)
    assert (first.num_trials, again.num_trials) == (5, 12)
    assert again.distance.divergence_nats <= first.distance.divergence_nats
    assert again.paper_distance == first.paper_distance
    assert run(path, trials=12).stages == again.stages  # nothing is left to do
    assert lines[-1].startswith('12/12 schedules tried, best KL')


@pytest.mark.parametrize('stop_at', [0, 1, 3])
def test_an_interrupt_loses_neither_the_paper_nor_a_trial(tmp_path: Path, stop_at: int) -> None:
    path, lines = tmp_path / 's.sqlite', []
    with pytest.raises(KeyboardInterrupt):
        run(path, trials=5, distance=Spy(stop_at))
    spy = Spy()
    found = run(path, trials=5, distance=spy, said=lines.append)
    assert found.num_trials == 5 and lines[-1].startswith('5/5 schedules tried')
    assert len(lines) <= 5 - stop_at  # those before the interrupt, pruned ones too, are kept
    assert found.paper_distance.divergence_nats == 2.03 >= found.distance.divergence_nats
    assert paper_trials(path).count('COMPLETE') == 1


@pytest.mark.parametrize('state', ['WAITING', 'RUNNING'])
def test_a_kill_during_the_first_trial_loses_nothing(tmp_path: Path, state: str) -> None:
    path = tmp_path / 's.sqlite'
    study = open_study(path, RUN)
    study.enqueue_trial(SPACE.paper(), user_attrs={'paper': True})
    if state == 'RUNNING':
        study.ask()
    assert paper_trials(path) == [state]
    spy, lines = Spy(), []
    found = run(path, trials=2, distance=spy, said=lines.append)
    assert found.num_trials == len(spy.seen) == 2
    assert [line.split()[0] for line in lines] == ['1/2', '2/2']
    assert paper_trials(path).count('COMPLETE') == 1
    assert found.paper_distance.divergence_nats == 2.03
    assert spy.seen[0][0]['after_block'] == 0  # the paper's comes first


def test_a_paper_that_does_not_fit_is_not_tried_again(tmp_path: Path) -> None:
    path = tmp_path / 's.sqlite'
    with pytest.raises(SearchError, match='none of 2 schedules'):
        run(path, trials=2, budget=1.0)
    with pytest.raises(SearchError, match='none of 4 schedules'):
        run(path, trials=4, budget=1.0)
    assert paper_trials(path) == ['PRUNED']


@pytest.mark.parametrize('by', [KeyboardInterrupt, ZeroDivisionError])
def test_optuna_adds_no_traceback_of_its_own(tmp_path: Path, caplog, by: type) -> None:
    optunas = logging.getLogger('optuna')
    optunas.addHandler(caplog.handler)
    try:
        with pytest.raises(by):
            run(tmp_path / 's.sqlite', distance=Spy(1, by))
    finally:
        optunas.removeHandler(caplog.handler)
    assert caplog.text == ''


def test_what_is_drawn_follows_from_the_seed_and_the_trials_before(tmp_path: Path) -> None:
    def gone_on_with(name: str, seed: int, stop_at: int | None) -> list:
        first, then = Spy(stop_at), Spy()
        try:
            run(tmp_path / name, trials=3, seed=seed, distance=first)
        except KeyboardInterrupt:
            pass
        run(tmp_path / name, trials=6, seed=seed, distance=then)
        return first.seen + then.seen

    assert gone_on_with('a', 3, 2) == gone_on_with('b', 3, 2) != gone_on_with('c', 4, 2)


def test_the_greatest_seed_leaves_room_for_a_later_session(tmp_path: Path) -> None:
    path = tmp_path / 's.sqlite'
    run(path, trials=1, seed=MAX_SEED)
    assert run(path, trials=3, seed=MAX_SEED).num_trials == 3


def test_a_distance_that_is_no_number_is_said(tmp_path: Path) -> None:
    path = tmp_path / 's.sqlite'
    with pytest.raises(SearchError, match='nan nats away .* finite numbers'):
        run(path, distance=lambda stages: Distance(float('nan'), 0.0))
    assert run(path, trials=2).num_trials == 2


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 's.sqlite'
    run(path, trials=1)
    with pytest.raises(SearchError, match='search with other weights: choose another --out'):
        run(path, fingerprint={**RUN, 'weights': 'c'})
    with pytest.raises(SearchError, match='search with other weights and other videos: choose'):
        run(path, fingerprint={'weights': 'c', 'videos': 'd'})
    path.write_text('no database')
    with pytest.raises(SearchError, match='cannot be used as a search'):
        run(path)


def test_options_that_differ_are_said_with_both_values(tmp_path: Path) -> None:
    path, typed = tmp_path / 's.sqlite', {**RUN, '--budget': '0.6', '--seed': '0'}
    run(path, trials=1, fingerprint=typed)
    with pytest.raises(SearchError, match=r'search with --budget 0\.6, not 0\.5: choose another'):
        run(path, fingerprint={**typed, '--budget': '0.5'})
    with pytest.raises(SearchError, match='with other videos and --seed 0, not 7: choose another'):
        run(path, fingerprint={**typed, 'videos': 'c', '--seed': '7'})
    assert run(path, trials=2, fingerprint=typed).num_trials == 2


def test_a_search_of_no_trial_may_become_another(tmp_path: Path) -> None:
    path = tmp_path / 's.sqlite'
    open_study(path, {**RUN, 'videos': 'c'})
    assert run(path, trials=1).num_trials == 1
    with pytest.raises(SearchError, match='other videos'):
        run(path, fingerprint={**RUN, 'videos': 'c'})


def test_a_budget_nothing_meets(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match='none of 3 schedules meets the budget'):
        run(tmp_path / 's.sqlite', trials=3, budget=1.0)
