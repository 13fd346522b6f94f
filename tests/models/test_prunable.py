"""A backbone of somebody else's that offers the protocol: everything works with it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from einops import rearrange
from torch import Tensor, nn

from sta.analysis import count_costs, solve_budgets
from sta.analysis.places import tokens_of_blocks, tokens_of_stages
from sta.engine.scoring import Scorer
from sta.errors import ScheduleError
from sta.models import prunable
from sta.models.prunable import ClipShape, PrunableBackbone, Size
from sta.pruning import Pruner, PruningSchedule, Variant
from sta.pruning.stages import StageRun
from sta.search import space_of
from sta.search.space import ViTSpace
from tests.models.small_vit import clips

CLIP = (3, 8, 16, 16)


class Linears(PrunableBackbone):
    """Four linear layers on the 4 x 4 patches of every frame: 8 x 4 x 4 tokens of width 48."""

    in_channels, num_frames, img_size = CLIP[:3]

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(48, 48, bias=False) for _ in range(4))
        self.schedule = PruningSchedule()
        self.set_pruner({'type': 'STAPruner'})

    @property
    def cell(self) -> Size:
        return 1, 4, 4

    def token_grid(self, clip_shape: ClipShape) -> Size:
        return clip_shape[1], clip_shape[2] // 4, clip_shape[3] // 4

    def blocks_by_level(self) -> list[tuple[int, nn.Module]]:
        return [(0, layer) for layer in self.layers]

    def num_tokens(self, clip_shape: ClipShape) -> int:
        frames, rows, columns = self.token_grid(clip_shape)
        return frames * rows * columns

    def tokens_after_stages(self, clip_shape: ClipShape) -> list[int]:
        return self.schedule.tokens_after_stages(self.num_tokens(clip_shape))

    def parse_schedule(self, schedule: Any) -> PruningSchedule:
        size = dict(depth=4, num_frames_tokens=8, tokens_per_frame=16)
        return PruningSchedule.parse(schedule, **size)

    def drop_ladder(self, clip_shape: ClipShape) -> list[int]:
        return list(range(1, 10))

    def check_pruner(self, pruner: Pruner) -> None:
        if pruner.merges:
            raise ScheduleError('no merging here')

    def build_host(self) -> nn.Module:
        return Linears()

    def forward(self, x: Tensor, return_kept: bool = False) -> Any:
        grid = self.token_grid(x.shape[1:])
        tokens = rearrange(x, 'b c t (h p) (w q) -> b (t h w) (c p q)', p=4, q=4)
        run = StageRun(self.schedule, self.pruner, x, grid)
        for number, layer in enumerate(self.layers):
            tokens = layer(tokens)
            features = tokens if run.similarity_after(number) else None
            tokens = run.after_block(number, tokens, features)
        return (tokens.mean(1), run.kept) if return_kept else tokens.mean(1)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = Linears()
        self.cls_head = nn.Linear(48, 5, bias=False)

    def extract_feat(self, inputs: Tensor, stage: str) -> tuple[Tensor, dict[str, Any]]:
        return self.cls_head(self.backbone(inputs.flatten(0, 1))), {}


def test_costs_budgets_and_the_search_space_are_those_of_the_backbone() -> None:
    model = Model()
    whole, pruned = count_costs(
        model, [Variant('unpruned'), Variant('random', {'type': 'RandomPruner'}, 4)], CLIP
    )
    tokens = [128, 96, 80, 72]  # behind blocks 0, 1 and 2: 8 x 4, 4 x 4 and 2 x 4 go
    assert whole.gflops_per_view * 1e9 == pytest.approx(4 * 128 * 48 * 48 + 48 * 5)
    assert pruned.gflops_per_view * 1e9 == pytest.approx(sum(tokens) * 48 * 48 + 48 * 5)
    assert pruned.tokens_after_stages == tuple(tokens[1:])
    (found,) = solve_budgets(model, {'type': 'RandomPruner'}, [0.74], CLIP)
    assert found.schedule == 4  # 376 of 512 tokens
    space = space_of(model.backbone)
    assert isinstance(space, ViTSpace) and space.depth == 4
    with pytest.raises(ScheduleError, match='no merging here'):
        count_costs(model, [Variant('tome', {'type': 'ToMeMergePruner'}, 4)], CLIP)


def test_every_token_has_its_place() -> None:
    """Values that say where a token stands are found there behind every block."""
    backbone = Linears()
    for layer in backbone.layers:
        layer.weight.data.copy_(torch.eye(48))
    backbone.set_variant(Variant('sta', None, 4))
    place = torch.arange(128.0).reshape(8, 4, 4).repeat_interleave(4, 1).repeat_interleave(4, 2)
    seen: list[Tensor] = []
    for _, block in backbone.blocks_by_level():
        block.register_forward_pre_hook(lambda _, given: seen.append(given[0][..., 0]))
    _, kept = backbone(place.expand(2, 3, 8, 16, 16), return_kept=True)
    for tokens, (grid, positions) in zip(seen, tokens_of_blocks(backbone, kept, CLIP), strict=True):
        assert grid == ((8, 4, 4), (1, 4, 4))
        if positions is None:
            positions = torch.arange(128).expand(2, -1)
        assert torch.equal(tokens.long(), positions)
    assert [stage.left.shape[1] for stage in tokens_of_stages(backbone, kept, CLIP)] == [96, 80, 72]


def test_a_scorer_binds_its_variants_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, built = Model().eval(), []
    build = prunable.build_pruner
    monkeypatch.setattr(
        prunable, 'build_pruner', lambda *given: (built.append(given[0]), build(*given))[1]
    )
    variants = [Variant('unpruned'), Variant('random', {'type': 'RandomPruner'}, 4)]
    scorer = Scorer(model, variants, precision='fp32', max_views_per_forward=4)
    for seed in range(3):
        views = clips(2, seed, frames=8, size=16)[None]
        scored = scorer.score(views)
        with torch.no_grad(), model.backbone.using(variants[1]):
            expected = model.extract_feat(views, 'head')[0].softmax(-1).mean(0)
        torch.testing.assert_close(scored.scores[0, 1], expected)
    assert built == [{'type': 'RandomPruner'}] * 4  # once by the scorer, three times here
    assert not model.backbone.schedule.active


def test_what_is_missing_of_the_protocol_is_named() -> None:
    class Half(PrunableBackbone):
        def check_pruner(self, pruner: Pruner) -> None: ...

    with pytest.raises(TypeError, match='abstract.*blocks_by_level.*token_grid'):
        Half()
