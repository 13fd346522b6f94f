"""Measure what tables ask for: costs, accuracies, trajectory sums and speeds."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sta.analysis import count_costs
from sta.analysis.places import trajectory_sum_of
from sta.analysis.speed import time_interleaved
from sta.engine import first_decides
from sta.engine.batches import living_workers, load_batches, plan_batches
from sta.engine.run_folder import RunFolder, choose_folder
from sta.engine.session import (
    build_model,
    build_model_of_shapes,
    build_test_runner,
    clip_shape,
    say,
)
from sta.engine.variant_loop import describe_hardware
from sta.errors import ConfigError, DataError, NotFiniteError
from sta.evaluation import Cost, EvaluationResult, SummaryRow
from sta.pruning import PruningSchedule, Variant
from sta.report import evaluation_of, write_results
from sta.report.table import counted

from .experiment import (
    ACCURACIES,
    SPEED,
    TRAINING,
    TRAJECTORY,
    Experiment,
    Setting,
    config_pruners,
    variant_of,
)
from .inputs import Inputs, find_inputs, smoke_inputs
from .tables import Record, Table, smoke_table

THROUGHPUT_OPTION = '--throughput'
# The paper: batch 32, AMP. A CPU has no use for either.
GPU_BATCH, CPU_BATCH = 32, 1
GPU_ROUNDS, CPU_ROUNDS = 10, 3


@dataclass(frozen=True)
class Request:
    """What is to be reproduced, from what.

    Attributes:
        tables: which.
        root: of the repository.
        checkpoints: folder of weights; None evaluates nothing.
        data: folder of data sets; None is data/.
        out: where to; None is a folder in work_dirs/.
        is_smoke: on the embedded models and videos.
        with_throughput: also time the models.
        precision: of evaluations, 'fp32', 'bf16' or 'fp16'.
        command: the command line, for the files.
    """

    tables: tuple[Table, ...]
    root: Path
    checkpoints: Path | None = None
    data: Path | None = None
    out: Path | None = None
    is_smoke: bool = False
    with_throughput: bool = False
    precision: str = 'fp32'
    command: str = ''

    @property
    def folder(self) -> Path:
        """Where to write."""
        return self.out or Path('work_dirs', 'paper_smoke' if self.is_smoke else 'paper')

    def inputs(self) -> Inputs:
        """What there is of what the tables need.

        Raises:
            CheckpointError, DataError: see :func:`find_inputs`.
            ConfigError: folders beside a smoke run, which brings its own.
        """
        if self.is_smoke:
            if self.checkpoints is not None or self.data is not None:
                raise ConfigError(
                    '--smoke brings its own models and videos: leave --checkpoints and --data away'
                )
            return smoke_inputs(self.root)
        settings = list(plan_runs(self.tables, (*ACCURACIES, TRAJECTORY)))
        return find_inputs(self.root, self.checkpoints, self.data, settings)


@dataclass
class Measured:
    """Everything measured so far.

    Attributes:
        values: numbers and words of ours by quantity and experiment.
        summaries: a row of each evaluated experiment.
        footers: under which conditions each setting was evaluated, by its name.
    """

    values: dict[tuple[str, Experiment], float | str] = field(default_factory=dict)
    summaries: dict[Experiment, SummaryRow] = field(default_factory=dict)
    footers: dict[str, str] = field(default_factory=dict)

    def filled(self, table: Table, inputs: Inputs) -> Table:
        """A table with our numbers, or what they need."""
        records = tuple(self._filled(record, inputs) for record in table.records)
        names = dict.fromkeys(experiment.setting.name for experiment in table.experiments())
        footers = (f'{name}: {self.footers[name]}' for name in names if name in self.footers)
        evaluated = any(record.summary is not None for record in records)
        return replace(table, records=records, footers=tuple(footers) if evaluated else ())

    def _filled(self, record: Record, inputs: Inputs) -> Record:
        quantity, experiment = record.quantity, record.experiment
        if experiment is None:
            return record
        if (quantity, experiment) in self.values:
            summary = self.summaries.get(experiment) if quantity in ACCURACIES else None
            return replace(record, ours=self.values[quantity, experiment], summary=summary)
        if quantity in (*ACCURACIES, TRAJECTORY):
            return replace(record, needs=inputs.missing(experiment.setting))
        return replace(record, needs=THROUGHPUT_OPTION if quantity == SPEED else TRAINING)


def measure(request: Request, inputs: Inputs) -> list[Table]:
    """Measure what can be measured, and put it beside what was published.

    Raises:
        CheckpointError, ConfigError, DataError, ScheduleError, StoreError: as tools/test.py.
    """
    measured, tables = Measured(), request.tables
    if request.is_smoke:
        tables = tuple(smoke_table(table) for table in tables)
    add_costs(measured, [e for table in tables for e in table.experiments()], inputs)
    add_accuracies(measured, tables, inputs, request)
    add_trajectory_sums(measured, tables, inputs, request)
    if request.with_throughput:
        add_speeds(measured, tables, inputs)
    return [measured.filled(table, inputs) for table in tables]


def plan_runs(
    tables: Iterable[Table], quantities: Sequence[str]
) -> dict[Setting, list[Experiment]]:
    """The experiments that tables need evaluated, each once, by setting."""
    plan: dict[Setting, dict[Experiment, None]] = {}
    for table in tables:
        for experiment in table.experiments(*quantities):
            plan.setdefault(experiment.setting, {})[experiment] = None
    return {setting: list(experiments) for setting, experiments in plan.items()}


def add_costs(measured: Measured, experiments: Iterable[Experiment], inputs: Inputs) -> None:
    """Count tokens, GFLOPs and parameters, and put the stages into words; needs no data.

    Views do not matter: what differs in them alone is counted once.

    Raises:
        ConfigError, ScheduleError: a config that is absent, or that a schedule does not fit.
    """
    by_config: dict[str, list[Experiment]] = {}
    for experiment in dict.fromkeys(experiments):
        by_config.setdefault(experiment.setting.config, []).append(experiment)
    for own in by_config.values():
        model = build_model_of_shapes(inputs.config(own[0].setting))
        backbone: Any = model.backbone
        found: dict[str, dict[str, float | str]] = {}
        for experiment in own:
            variant = variant_of(experiment)
            if variant.name not in found:
                [cost] = count_costs(model, [variant], clip_shape(backbone))
                words = stages_in_words(backbone.parse_schedule(variant.schedule))
                found[variant.name] = {**_cost_values(cost), 'stages': words}
            for quantity, value in found[variant.name].items():
                measured.values[quantity, experiment] = value


def _cost_values(cost: Cost) -> dict[str, float | str]:
    return {
        'gflops': cost.gflops_per_view,
        'tokens': ' '.join(map(str, cost.tokens_after_stages or (cost.num_tokens,))),
        'parameters': cost.num_parameters / 1e6,
    }


def stages_in_words(schedule: PruningSchedule) -> str:
    """'1: 8x64, 9: 4x64, 17: 2x64': chunks x drop behind each block, counted from 1.

    A VideoSwin's chunks are its frames, whose number is left out.
    """
    return ', '.join(f'{stage.after_block + 1}: {_drop(stage)}' for stage in schedule.stages) or '-'


def _drop(stage: Any) -> str:
    chunks = '' if stage.num_chunks is None else f'{stage.num_chunks}x'
    return f'{chunks}{stage.num_drop}{"b" if stage.backward else ""}'


def add_accuracies(
    measured: Measured, tables: Sequence[Table], inputs: Inputs, request: Request
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
        _evaluate(measured, setting, experiments, inputs, request)


def _evaluate(
    measured: Measured,
    setting: Setting,
    experiments: Sequence[Experiment],
    inputs: Inputs,
    request: Request,
) -> None:
    config = inputs.config(setting)
    config.test_cfg.pruners = config_pruners(experiments)
    config.test_cfg.precision = request.precision
    checkpoint = str(inputs.checkpoints[setting.checkpoint])
    parent = request.folder / 'runs' / setting.name
    fingerprint: dict[str, str] = {}

    def choose(found: dict[str, str]) -> RunFolder:
        fingerprint.update(found)
        return run_folder(parent, found)

    runner = build_test_runner(config, checkpoint, choose=choose)
    result = runner.test()
    folder = runner.test_loop.folder
    is_new = folder.state != 'finished' or result.resumed < result.num_listed
    found = evaluation_of(
        result,
        command=request.command,
        config=config.filename,
        checkpoint=checkpoint,
        annotations=config.test_dataloader.dataset.get('ann_file'),
        fingerprint=fingerprint,
    )
    if runner.rank == 0 and is_new:
        write_results(found, folder.path)
    rows = {row.name: row for row in found.rows}
    for experiment in experiments:
        row = measured.summaries[experiment] = rows[variant_of(experiment).name]
        for quantity in ACCURACIES:
            measured.values[quantity, experiment] = getattr(row, f'{quantity}_percent')
    measured.footers[setting.name] = _conditions(result)


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


def mean_trajectory_sum(model: nn.Module, clips: Tensor, variant: Variant) -> float:
    """Eq. 6 under a variant, mean over clips that kept a token of the last frame."""
    backbone: Any = model.backbone
    with backbone.using(variant):
        return float(trajectory_sum_of(backbone, clips).nanmean())


def add_trajectory_sums(
    measured: Measured, tables: Sequence[Table], inputs: Inputs, request: Request
) -> None:
    """Average trajectory sums over the views of all videos, where weights and data are there.

    Raises:
        CheckpointError, ConfigError, DataError: as tools/test.py.
    """
    for setting, experiments in plan_runs(tables, (TRAJECTORY,)).items():
        if inputs.missing(setting):
            continue
        say(f'trajectory sums of {setting.name}')
        config = inputs.config(setting)
        config.test_cfg.pruners = config_pruners(experiments)
        config.work_dir = str(request.folder / 'runs' / setting.name)
        runner = build_test_runner(config, str(inputs.checkpoints[setting.checkpoint]))
        variants = [variant_of(experiment) for experiment in experiments]
        sums = mean_trajectory_sums(runner, variants)
        for experiment, found in zip(experiments, sums, strict=True):
            measured.values[TRAJECTORY, experiment] = found


@torch.inference_mode()
def mean_trajectory_sums(runner: Any, variants: Sequence[Variant]) -> list[float]:
    """Mean over all clips of the runner's videos, one number per variant.

    Raises:
        DataError: not one video can be used.
        NotFiniteError: keys are NaN or infinite.
    """
    model, loader = runner.model.eval(), runner.test_loop.dataloader
    totals, num_clips = [0.0] * len(variants), 0
    batches = load_batches(loader, plan_batches(len(loader.dataset), loader.batch_size, ()))
    with living_workers():
        for batch in batches:
            if batch.data is None:
                continue
            inputs = model.data_preprocessor(batch.data, training=False)['inputs']
            clips = inputs.flatten(0, 1)
            num_clips += len(clips)
            for i, variant in enumerate(variants):
                try:
                    totals[i] += len(clips) * mean_trajectory_sum(model, clips, variant)
                except NotFiniteError as error:
                    names = ', '.join(sample.filename for sample in batch.data['data_samples'])
                    raise NotFiniteError(f'{names}: under {variant.name} {error}') from None
    if not num_clips:
        raise DataError(f'none of the {len(loader.dataset)} videos can be used')
    return [total / num_clips for total in totals]


def conditions() -> str:
    """What the speeds are measured under, in words."""
    where = describe_hardware()
    if torch.cuda.is_available():
        return f'batch {GPU_BATCH}, fp16 autocast, {where}, median of {GPU_ROUNDS} rounds'
    return f'batch {CPU_BATCH}, fp32, {where}, median of {CPU_ROUNDS} rounds'


def add_speeds(measured: Measured, tables: Sequence[Table], inputs: Inputs) -> None:
    """Time the backbone of every experiment whose speed a table asks for; weights do not matter.

    Raises:
        ConfigError, ScheduleError: a config that is absent, or that a schedule does not fit.
    """
    for setting, experiments in plan_runs(tables, (SPEED,)).items():
        say(f'timing {len(experiments)} variants of {setting.model}: {conditions()}')
        model = build_model(inputs.config(setting)).eval()
        for experiment, clips_per_s in speeds_of(model, experiments).items():
            measured.values[SPEED, experiment] = clips_per_s


@torch.no_grad()
def speeds_of(model: nn.Module, experiments: Sequence[Experiment]) -> dict[Experiment, float]:
    """Median clips/s of a model's backbone under each experiment, on random clips."""
    is_cuda = torch.cuda.is_available()
    device = 'cuda' if is_cuda else 'cpu'
    batch = GPU_BATCH if is_cuda else CPU_BATCH
    backbone: Any = model.backbone.to(device)
    clips = torch.randn(batch, *clip_shape(backbone), device=device)

    def forward(experiment: Experiment) -> Any:
        with (
            backbone.using(variant_of(experiment)),
            torch.autocast(device, dtype=torch.float16, enabled=is_cuda),
        ):
            return backbone(clips)

    timings = time_interleaved(
        {str(i): functools.partial(forward, e) for i, e in enumerate(experiments)},
        batch_size=batch,
        rounds=GPU_ROUNDS if is_cuda else CPU_ROUNDS,
        warm_up=3 if is_cuda else 1,
        is_cuda=is_cuda,
    )
    return {e: timing.clips_per_s for e, timing in zip(experiments, timings, strict=True)}
