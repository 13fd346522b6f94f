"""The search itself: optuna's sampler over schedules of one cost, on disk, to be gone on with."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import torch
import torch.nn.functional as F
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor

from sta.analysis import count_costs
from sta.datasets.video_list import BrokenVideo, sound
from sta.engine.scoring import not_finite_text
from sta.errors import DataError, NotFiniteError, SearchError
from sta.models.prunable import ClipShape, PrunableRecognizer
from sta.pruning import Variant

from .space import Gflops, SearchSpace, Stages, stages_within

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
        study: see :func:`sta.search.study.open_study`; what it holds is gone on with.
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
    assert trial.value is not None  # of a trial that is complete
    return _finite(Distance(trial.value, trial.user_attrs['agreement']))


STUDY = 'schedules'
PAPER = 'paper'  # marks the trial of the paper's schedule
_TRIED = (TrialState.COMPLETE, TrialState.PRUNED)


def open_study(path: Path, fingerprint: Mapping[str, str]) -> optuna.Study:
    """Open the search of a file, or begin one.

    Args:
        path: SQLite file.
        fingerprint: what the results depend on. A part named like an option, '--seed', is its value
            and is said so where it differs; of other parts only the name is said.

    Raises:
        SearchError: the file is of another search or damaged.
    """
    # Its warnings are tracebacks of what ends a trial, and a command ends in one line.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = optuna.storages.RDBStorage(f'sqlite:///{path}')
        study = optuna.create_study(storage=storage, study_name=STUDY, load_if_exists=True)
    except Exception as error:  # sqlalchemy and optuna raise a dozen kinds on foreign files
        reason = str(error).splitlines()[0]
        raise SearchError(f'{path} cannot be used as a search: {reason}') from None
    before = json.loads(study.user_attrs.get('fingerprint', '{}'))
    differing = _differing(before, fingerprint)
    if study.trials and differing:
        raise SearchError(
            f'{path} holds a search with {" and ".join(differing)}: choose another --out'
        )
    study.set_user_attr('fingerprint', json.dumps(dict(fingerprint)))
    return study


def tried(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that came to an end, in their order; not those that an interrupt or a kill ended."""
    return [trial for trial in study.trials if trial.state in _TRIED]


def fitting(study: optuna.Study) -> list[FrozenTrial]:
    """Trials whose schedule met the budget and has a value, in their order."""
    return [trial for trial in study.trials if trial.state == TrialState.COMPLETE]


def enqueue_paper(study: optuna.Study, numbers: Mapping[str, Any]) -> None:
    """Let the paper's schedule be the next trial unless it was tried or waits for its turn.

    Args:
        study: see :func:`open_study`.
        numbers: see :meth:`sta.search.space.SearchSpace.paper`.
    """
    good = (*_TRIED, TrialState.WAITING)
    if not any(trial.state in good and PAPER in trial.user_attrs for trial in study.trials):
        study.enqueue_trial(dict(numbers), user_attrs={PAPER: True})


def _differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Words for every part that is not the same."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [
        f'{name} {before.get(name, "unknown")}, not {now.get(name)}'
        if name.startswith('--')
        else f'other {name}'
        for name in names
    ]


class SearchClips(NamedTuple):
    """Clips to search on, decoded once and kept in memory.

    Attributes:
        clips: one view (3, T, H, W) of each, as the pipeline leaves it (uint8 as a rule).
        num_broken: videos that were left out.
        names: file of each.
    """

    clips: list[Tensor]
    num_broken: int
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: Any) -> SearchClips:
        """Decode the middle view of every video of a data set; its labels are not looked at.

        Raises:
            DataError: not one of them can be decoded.
        """
        clips, names = [], []
        broken: list[BrokenVideo] = []
        for sample in sound((dataset[index] for index in range(len(dataset))), broken):
            views = sample['inputs']
            clips.append(views[len(views) // 2].clone())
            names.append(
                getattr(sample.get('data_samples'), 'filename', f'clip {len(clips) + len(broken)}')
            )
        if not clips:
            raise DataError(f'none of the {len(dataset)} videos to search on can be decoded')
        return cls(clips, len(broken), tuple(names))


class Distance(NamedTuple):
    """From the whole model's predictions, mean over clips.

    Attributes:
        divergence_nats: Kullback-Leibler divergence of the pruned prediction from the whole one.
        agreement_percent: clips with the same most probable class.
    """

    divergence_nats: float
    agreement_percent: float


def objective_of(
    model: PrunableRecognizer,
    pruner: Any,
    clips: Sequence[Tensor],
    *,
    batch_size: int,
    names: Sequence[str] = (),
) -> Callable[[Stages], Distance]:
    """Compare schedules with no pruning on fixed clips.

    Args:
        model: a recognizer in evaluation mode, on its device.
        pruner: settings.
        clips: see :class:`SearchClips`.
        batch_size: clips in one forward pass.
        names: of the clips, for messages.

    Raises:
        NotFiniteError: logits are NaN or infinite; what is returned raises it likewise.
    """
    whole = _log_probabilities(model, Variant('unpruned'), clips, batch_size, names)

    def distance(stages: Stages) -> Distance:
        trial = Variant(f'the schedule {stages}', pruner, stages)
        found = _log_probabilities(model, trial, clips, batch_size, names)
        divergence = F.kl_div(found, whole, reduction='batchmean', log_target=True)
        same = found.argmax(-1) == whole.argmax(-1)
        return Distance(float(divergence), 100.0 * float(same.double().mean()))

    return distance


@torch.inference_mode()
def _log_probabilities(
    model: PrunableRecognizer,
    variant: Variant,
    clips: Sequence[Tensor],
    batch_size: int,
    names: Sequence[str],
) -> Tensor:
    """(clips, classes) float64 on the CPU."""
    parts = []
    with model.backbone.using(variant):
        for start in range(0, len(clips), batch_size):
            batch = [clip.unsqueeze(0) for clip in clips[start : start + batch_size]]
            inputs = model.data_preprocessor(
                {'inputs': batch, 'data_samples': None}, training=False
            )['inputs']
            logits, _ = model.extract_feat(inputs, stage='head')
            failed = (~logits.isfinite().all(-1)).nonzero().flatten()
            if len(failed):
                place = start + int(failed[0])
                name = names[place] if names else f'clip {place + 1}'
                raise NotFiniteError(f'{name}: {not_finite_text([variant.name], "fp32")}')
            parts.append(logits.double().log_softmax(-1).cpu())
    return torch.cat(parts)


def gflops_of(model: PrunableRecognizer, pruner: Mapping[str, Any], shape: ClipShape) -> Gflops:
    """Count schedules, each once however often it is met.

    Args:
        model: a recognizer.
        pruner: settings.
        shape: (3, frames, H, W) of one view.

    Returns:
        GFLOPs per view of a schedule; raises ScheduleError for one that drops too much.
    """

    @functools.cache
    def counted(text: str) -> float:
        (cost,) = count_costs(model, [Variant('trial', pruner, json.loads(text))], shape)
        return cost.gflops_per_view

    def gflops(stages: Stages) -> float:
        return counted(json.dumps(stages or None))

    return gflops
