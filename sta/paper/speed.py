"""Clips per second on this machine, all contestants of a model in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from sta.analysis.speed import time_interleaved
from sta.engine.loop import describe_hardware
from sta.engine.session import build_model, say

from .experiment import SPEED, Experiment, Table, variant_of
from .findings import Findings
from .inputs import Inputs
from .runs import plan_runs

# The paper: batch 32, AMP. A CPU has no use for either.
GPU_BATCH, CPU_BATCH = 32, 1
GPU_ROUNDS, CPU_ROUNDS = 10, 3


def conditions() -> str:
    """What the speeds are measured under, in words."""
    where = describe_hardware()
    if torch.cuda.is_available():
        return f'batch {GPU_BATCH}, fp16 autocast, {where}, median of {GPU_ROUNDS} rounds'
    return f'batch {CPU_BATCH}, fp32, {where}, median of {CPU_ROUNDS} rounds'


def add_speeds(findings: Findings, tables: Sequence[Table], inputs: Inputs) -> None:
    """Time the backbone of every experiment whose speed a table asks for; weights do not matter.

    Raises:
        ConfigError, ScheduleError: a config that is absent, or that a schedule does not fit.
    """
    for setting, experiments in plan_runs(tables, (SPEED,)).items():
        say(f'timing {len(experiments)} variants of {setting.model}: {conditions()}')
        model = build_model(inputs.config(setting)).eval()
        findings.speeds.update(measure(model, experiments))


@torch.no_grad()
def measure(model: nn.Module, experiments: Sequence[Experiment]) -> dict[Experiment, float]:
    """Median clips/s of a model's backbone under each experiment, on random clips."""
    is_cuda = torch.cuda.is_available()
    device = 'cuda' if is_cuda else 'cpu'
    batch = GPU_BATCH if is_cuda else CPU_BATCH
    backbone: Any = model.backbone.to(device)
    clips = torch.randn(batch, *backbone.clip_shape, device=device)

    def forward(experiment: Experiment) -> Any:
        with (
            backbone.using(variant_of(experiment)),
            torch.autocast(device, dtype=torch.float16, enabled=is_cuda),
        ):
            return backbone(clips)

    timings = time_interleaved(
        {str(i): (lambda e=e: forward(e)) for i, e in enumerate(experiments)},
        batch_size=batch,
        rounds=GPU_ROUNDS if is_cuda else CPU_ROUNDS,
        warm_up=3 if is_cuda else 1,
        is_cuda=is_cuda,
    )
    return {e: timing.clips_per_s for e, timing in zip(experiments, timings, strict=True)}
