"""The search on a cost and a distance that are written down, so that the best one is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from sta.search.objective import Distance
from sta.search.space import ViTSpace
from sta.search.study import Found, SearchError, search

SPACE = ViTSpace(depth=6, frames=8, tokens_per_frame=16, num_stages=3)
RUN = {'weights': 'a', 'videos': 'b'}


def gflops(stages) -> float:
    """Tokens times blocks behind each stage."""
    return 768 - sum(s['num_chunks'] * s['num_drop'] * (5 - s['after_block']) for s in stages)


def distance(stages) -> Distance:
    """Nearest when the first stage stands behind block 2."""
    return Distance(abs(stages[0]['after_block'] - 2) + 0.01 * len(stages), 90.0)


def run(path: Path, *, trials: int = 30, said=lambda line: None, **changed) -> Found:
    settings = dict(budget=600.0, fingerprint=RUN, seed=0)
    return search(
        SPACE,
        gflops,
        distance,
        num_trials=trials,
        path=path,
        said=said,
        **{**settings, **changed},
    )


def test_it_finds_what_is_nearest_and_never_worse_than_the_paper(tmp_path: Path) -> None:
    found = run(tmp_path / 's.sqlite')
    assert found.stages[0]['after_block'] == 2
    assert found.distance.divergence_nats < 1 < found.paper_distance.divergence_nats == 2.03
    assert found.gflops_per_view == gflops(found.stages) <= 600
    assert found.num_trials == 30
    assert run(tmp_path / 'one.sqlite', trials=1).distance.divergence_nats == 2.03


def test_equal_seeds_find_the_same_and_others_look_elsewhere(tmp_path: Path) -> None:
    def tried(name: str, seed: int) -> list:
        seen = []

        def spy(stages):
            seen.append(stages)
            return distance(stages)

        search(
            SPACE,
            gflops,
            spy,
            budget=600.0,
            num_trials=12,
            seed=seed,
            path=tmp_path / name,
            fingerprint=RUN,
            said=lambda line: None,
        )
        return seen

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


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 's.sqlite'
    run(path, trials=1)
    with pytest.raises(SearchError, match='search with other weights: choose another --out'):
        run(path, fingerprint={**RUN, 'weights': 'c'})
    path.write_text('no database')
    with pytest.raises(SearchError, match='cannot be used as a search'):
        run(path)


def test_a_budget_nothing_meets(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match='none of 3 schedules meets the budget'):
        run(tmp_path / 's.sqlite', trials=3, budget=1.0)
