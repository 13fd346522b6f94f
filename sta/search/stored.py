"""The file of a search: opened to go on with, or refused because another search is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from sta.engine.config import ConfigError

STUDY = 'schedules'
PAPER = 'paper'  # marks the trial of the paper's schedule
_TRIED = (TrialState.COMPLETE, TrialState.PRUNED)


class SearchError(ConfigError):
    """A search that cannot be made or gone on with; the message says why."""


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
