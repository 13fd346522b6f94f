"""The search itself: optuna's sampler over schedules of one cost, on disk, to be gone on with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import optuna

from sta.engine.config import ConfigError

from .objective import Distance
from .space import Gflops, SearchSpace, Stages, stages_within

STUDY = 'schedules'


class SearchError(ConfigError):
    """A search that cannot be made or gone on with; the message says why."""


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
    space: SearchSpace,
    gflops: Gflops,
    distance: Callable[[Stages], Distance],
    *,
    budget: float,
    num_trials: int,
    seed: int,
    path: Path,
    fingerprint: Mapping[str, str],
    said: Callable[[str], None],
) -> Found:
    """Find the schedule within a budget whose predictions are nearest to the whole model's.

    The first trial is the paper's schedule, so what is found is never worse on these clips.

    Args:
        space: see :func:`sta.search.space_of`.
        gflops: cost of a schedule per view.
        distance: see :func:`sta.search.objective_of`.
        budget: GFLOPs per view.
        num_trials: to reach, earlier sessions included.
        seed: of the sampler.
        path: SQLite file; a search that is there is gone on with.
        fingerprint: what the results depend on; a file of something else is refused.
        said: takes a line for people now and then.

    Raises:
        SearchError: the file is of another search or damaged, or no schedule meets the budget.
    """
    study = _study(path, seed, dict(fingerprint))
    if not study.trials:
        study.enqueue_trial(space.paper())

    def objective(trial: optuna.Trial) -> float:
        stages = stages_within(space, space.drawn(trial), gflops, budget)
        if stages is None:
            raise optuna.TrialPruned('no scale meets the budget')
        found = distance(stages)
        trial.set_user_attr('stages', stages)
        trial.set_user_attr('gflops', gflops(stages))
        trial.set_user_attr('agreement', found.agreement_percent)
        return found.divergence_nats

    def report(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        done = len(study.trials)
        if done % max(num_trials // 10, 1) == 0 or done == num_trials:
            best = f'best KL {study.best_value:.4g} nats' if _finished(study) else 'none fits yet'
            said(f'{done}/{num_trials} schedules tried, {best}')

    left = num_trials - sum(trial.state.is_finished() for trial in study.trials)
    if left > 0:
        study.optimize(objective, n_trials=left, callbacks=[report])
    finished = _finished(study)
    if not finished:
        raise SearchError(f'none of {len(study.trials)} schedules meets the budget: allow more')
    best, paper = study.best_trial, finished[0] if finished[0].number == 0 else None
    return Found(
        best.user_attrs['stages'],
        best.user_attrs['gflops'],
        Distance(best.value, best.user_attrs['agreement']),
        None if paper is None else Distance(paper.value, paper.user_attrs['agreement']),
        len(study.trials),
    )


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials with a value, in the order they were made; the paper's comes first if it fits."""
    return [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]


def _study(path: Path, seed: int, fingerprint: dict[str, str]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = optuna.storages.RDBStorage(f'sqlite:///{path}')
        known = STUDY in optuna.study.get_all_study_names(storage)
        study = optuna.create_study(storage=storage, study_name=STUDY, load_if_exists=True)
    except Exception as error:  # sqlalchemy and optuna raise a dozen kinds on foreign files
        reason = str(error).splitlines()[0]
        raise SearchError(f'{path} cannot be used as a search: {reason}') from None
    before = json.loads(study.user_attrs.get('fingerprint', '{}'))
    if known and before != fingerprint:
        differing = [name for name in fingerprint if before.get(name) != fingerprint[name]]
        raise SearchError(
            f'{path} holds a search with other {", ".join(differing)}: choose another --out'
        )
    study.set_user_attr('fingerprint', json.dumps(fingerprint))
    # Where an earlier session stopped another stream of draws begins, not the same one again.
    draws = seed + 1_000_003 * len(study.trials)
    study.sampler = optuna.samplers.TPESampler(seed=draws, multivariate=True)
    return study
