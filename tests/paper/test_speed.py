"""Speeds of the experiments that a table asks for."""

from __future__ import annotations

from sta.engine.session import build_model
from sta.paper import speed
from sta.paper.experiment import Experiment
from sta.paper.findings import Findings
from sta.paper.settings import setting_of, sta
from sta.paper.smoke import small, smoke_inputs, smoke_table
from sta.paper.tables import fig5

from .conftest import ROOT


def test_every_schedule_of_figure_5_is_timed_and_nothing_else() -> None:
    findings, table = Findings(), smoke_table(fig5())
    speed.add_speeds(findings, [table], smoke_inputs(ROOT))
    asked = {cell.experiment for cell in table.cells() if cell.quantity == 'clips_per_s'}
    assert set(findings.speeds) == asked and len(asked) == 7
    assert all(value > 0 for value in findings.speeds.values())


def test_each_speed_is_of_its_own_variant(monkeypatch) -> None:
    """A clock that counts kept tokens in place of seconds."""
    experiments: list[Experiment] = [small(sta(setting_of('ViT-L', 'k400'), r)) for r in (0, 64)]
    model = build_model(smoke_inputs(ROOT).config(experiments[0].setting)).eval()
    left: list[int] = []

    def fake(contestants, *, batch_size, rounds, warm_up, is_cuda):
        hook = model.backbone.blocks[-1].register_forward_hook(
            lambda _, inputs, __: left.append(inputs[0].shape[1])
        )
        timings = []
        for run in contestants.values():
            run()
            timings.append(type('T', (), {'clips_per_s': float(left[-1])}))
        hook.remove()
        return timings

    monkeypatch.setattr(speed, 'time_interleaved', fake)
    assert list(speed.measure(model, experiments).values()) == [288.0, 120.0]
