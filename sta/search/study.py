"""The search itself: optuna's sampler over schedules of one cost, on disk, to be gone on with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import optuna

from .objective import Distance
from .space import Gflops, SearchSpace, Stages, stages_within
from .stored import PAPER, SearchError, enqueue_paper, fitting, tried

MAX_SEED = 2**32 - 1  # of numpy's generator, which optuna draws from


class Found(NamedTuple):
    """The best schedule of a search.

    Attributes:
        stages: as configs hold them.
        gflops_per_view: its cost.
        distance: from the whole model, on the clips of the search.
        paper_distance: of the paper's schedule at this budget, on the same clips; None where the
            budget is too small for it.
        num_trials: schedules that were tried, earlier sessions included.
    """

    stages: Stages
    gflops_per_view: float
    distance: Distance
    paper_distance: Distance | None
    num_trials: int


def search(
    study: optuna.Study,
    space: SearchSpace,
    gflops: Gflops,
    distance: Callable[[Stages], Distance],
    *,
    budget: float,
    num_trials: int,
    seed: int,
    said: Callable[[str], None],
) -> Found:
    """Find the schedule within a budget whose predictions are nearest to the whole model's.

    The first trial is the paper's schedule, so what is found is never worse on these clips.

    Args:
        study: see :func:`sta.search.stored.open_study`; what it holds is gone on with.
        space: see :func:`sta.search.space_of`.
        gflops: cost of a schedule per view.
        distance: see :func:`sta.search.objective_of`.
        budget: GFLOPs per view.
        num_trials: to reach, earlier sessions included.
        seed: of the sampler, 0 to MAX_SEED.
        said: takes a line for people now and then.

    Raises:
        SearchError: no schedule meets the budget, or a distance, stored ones included, is no finite
            number.
    """

    def objective(trial: optuna.Trial) -> float:
        stages = stages_within(space, space.drawn(trial), gflops, budget)
        if stages is None:
            raise optuna.TrialPruned('no scale meets the budget')
        found = _finite(distance(stages))
        trial.set_user_attr('stages', stages)
        trial.set_user_attr('gflops', gflops(stages))
        trial.set_user_attr('agreement', found.agreement_percent)
        return found.divergence_nats

    def report(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        done = len(tried(study))
        if done % max(num_trials // 10, 1) == 0 or done == num_trials:
            best = f'best KL {study.best_value:.4g} nats' if fitting(study) else 'none fits yet'
            said(f'{done}/{num_trials} schedules tried, {best}')

    done = len(tried(study))
    if done < num_trials:
        study.sampler = optuna.samplers.TPESampler(seed=_draws(seed, done), multivariate=True)
        enqueue_paper(study, space.paper())
        study.optimize(objective, n_trials=num_trials - done, callbacks=[report])
    return _found(study)


def _draws(seed: int, done: int) -> int:
    """Seed of a session: where one stopped another stream begins, not the same one again."""
    return (seed + 1_000_003 * done) % (MAX_SEED + 1)


def _finite(found: Distance) -> Distance:
    """optuna would pass over such a trial in silence."""
    if not math.isfinite(found.divergence_nats):
        raise SearchError(
            f'a schedule is {found.divergence_nats} nats away from the whole model: are the '
            f'predictions of this checkpoint finite numbers?'
        )
    return found


def _found(study: optuna.Study) -> Found:
    """The best trial, and the paper's."""
    finished = fitting(study)
    if not finished:
        raise SearchError(f'none of {len(tried(study))} schedules meets the budget: allow more')
    best = study.best_trial
    papers = [_distance_of(trial) for trial in finished if PAPER in trial.user_attrs]
    return Found(
        best.user_attrs['stages'],
        best.user_attrs['gflops'],
        _distance_of(best),
        papers[0] if papers else None,
        len(tried(study)),
    )


def _distance_of(trial: optuna.trial.FrozenTrial) -> Distance:
    return _finite(Distance(trial.value, trial.user_attrs['agreement']))
