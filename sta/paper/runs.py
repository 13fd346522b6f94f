"""Evaluate experiments with the engine: one pass over the data for all of one setting."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sta.engine import first_decides
from sta.engine.run_folder import RunFolder, choose_folder
from sta.engine.session import build_test_runner, say
from sta.evaluation import EvaluationResult, summarise
from sta.report import write_results
from sta.report.columns import counted

from .experiment import ACCURACIES, Experiment, Setting, Table, config_pruners, variant_of
from .findings import Findings
from .inputs import Inputs


@dataclass(frozen=True)
class RunOptions:
    """How evaluations run.

    Attributes:
        folder: each setting writes below it.
        command: the command line, for the files.
        precision: 'fp32', 'bf16' or 'fp16'.
    """

    folder: Path
    command: str
    precision: str = 'fp32'


def plan_runs(
    tables: Iterable[Table], quantities: Sequence[str]
) -> dict[Setting, list[Experiment]]:
    """The experiments that tables need evaluated, each once, by setting."""
    plan: dict[Setting, dict[Experiment, None]] = {}
    for table in tables:
        for cell in table.cells():
            if cell.experiment is not None and cell.quantity in quantities:
                plan.setdefault(cell.experiment.setting, {})[cell.experiment] = None
    return {setting: list(experiments) for setting, experiments in plan.items()}


def add_accuracies(
    findings: Findings, tables: Sequence[Table], inputs: Inputs, options: RunOptions
) -> None:
    """Evaluate all that weights and data are there for; what was cut off before is gone on with.

    Raises:
        CheckpointError, ConfigError, DataError, ScheduleError, StoreError: as tools/test.py.
    """
    plan = plan_runs(tables, ACCURACIES)
    ready = [setting for setting in plan if not inputs.missing(setting)]
    for number, setting in enumerate(ready, start=1):
        experiments = plan[setting]
        say(f'[{number}/{len(ready)}] {setting.name}: {len(experiments)} variants')
        _evaluate(findings, setting, experiments, inputs, options)


def _evaluate(
    findings: Findings,
    setting: Setting,
    experiments: Sequence[Experiment],
    inputs: Inputs,
    options: RunOptions,
) -> None:
    config = inputs.config(setting)
    config.test_cfg.pruners = config_pruners(experiments)
    config.test_cfg.precision = options.precision
    checkpoint = str(inputs.checkpoints[setting.checkpoint])
    parent = options.folder / setting.name
    fingerprint: dict[str, str] = {}

    def choose(found: dict[str, str]) -> RunFolder:
        fingerprint.update(found)
        return run_folder(parent, found)

    runner = build_test_runner(config, checkpoint, choose=choose)
    result = runner.test()
    folder = runner.test_loop.folder
    is_new = folder.state != 'finished' or result.resumed < result.num_listed
    if runner.rank == 0 and is_new:
        write_results(
            result,
            folder.path,
            command=options.command,
            config=config.filename,
            checkpoint=checkpoint,
            annotations=config.test_dataloader.dataset.get('ann_file'),
            fingerprint=fingerprint,
        )
    rows = {row.name: row for row in summarise(result)}
    for experiment in experiments:
        findings.accuracies[experiment] = rows[variant_of(experiment).name]
    findings.footers[setting.name] = _conditions(result)


def _conditions(result: EvaluationResult) -> str:
    """On how many videos and how an accuracy was measured."""
    videos = counted(result.num_listed, 'video')
    if result.left_out:
        videos = f'{len(result.labels)} of {videos}, the others cannot be decoded,'
    failed = len(result.not_finite)
    wrong = f', of which {failed} have scores that are not finite and count as wrong' * bool(failed)
    views = counted(result.views, 'view')
    return f'{videos} x {views}, {result.precision} on {result.hardware}{wrong}'


def run_folder(parent: Path, fingerprint: Mapping[str, str]) -> RunFolder:
    """The folder of a run, named by all that its scores depend on: the same run finds it again.

    So a finished run is read, one that was cut off is gone on with, and other weights, data or
    variants never meet in one folder.
    """
    text = json.dumps(dict(fingerprint), sort_keys=True)
    path = parent / hashlib.sha256(text.encode()).hexdigest()[:12]
    chosen = first_decides(lambda: choose_folder(parent, fingerprint, work_dir=path, resume=None))
    if chosen.state != 'new':
        say(f'going on with the run in {chosen.path}, which was {chosen.state}')
    return chosen
