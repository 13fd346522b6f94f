"""The distance of predictions against one worked from logits, clip by clip."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from sta.datasets.video_list import BrokenVideo
from sta.engine.config import load_config
from sta.engine.session import build_model
from sta.errors import DataError
from sta.pruning import Variant
from sta.search import SearchClips, objective_of
from tests.models.small_vit import randomise
from tests.tools.tiny import Tiny

STAGES = [{'after_block': 0, 'num_chunks': 8, 'num_drop': 7, 'backward': False}]


class Videos(list):
    """A data set of three views each, the second one broken."""

    def __init__(self, *broken: int) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = (3, 3, 16, 32, 32)
        for index in range(4):
            pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
            gone = BrokenVideo(index, 'a.mp4', 0, 'it is empty')
            self.append(gone if index in broken else {'inputs': pixels})


def test_the_middle_view_of_every_sound_video() -> None:
    videos = Videos(1)
    found = SearchClips.of(videos)
    assert found.num_broken == 1 and len(found.clips) == 3
    assert torch.equal(found.clips[1], videos[2]['inputs'][1])
    with pytest.raises(DataError, match='none of the 4 videos to search on'):
        SearchClips.of(Videos(0, 1, 2, 3))


@pytest.mark.parametrize('batch_size', [1, 3, 8])
def test_divergence_and_agreement_by_hand(tiny: Tiny, tmp_path: Path, batch_size: int) -> None:
    model = randomise(build_model(load_config(str(tiny.one_view))))
    clips = SearchClips.of(Videos()).clips
    pruner = {'type': 'STAPruner'}
    found = objective_of(model, pruner, clips, batch_size=batch_size)(STAGES)
    divergence, same = 0.0, 0
    for clip in clips:
        mean = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1, 1)
        std = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1, 1)
        inputs = ((clip.float() - mean) / std)[None]
        probabilities = []
        for stages in (None, STAGES):
            with torch.no_grad(), model.backbone.using(Variant('v', pruner, stages)):
                logits = model.cls_head(model.backbone(inputs))[0].double()
            exponentials = [math.exp(value) for value in logits.tolist()]
            probabilities.append([value / sum(exponentials) for value in exponentials])
        whole, pruned = probabilities
        divergence += sum(p * math.log(p / q) for p, q in zip(whole, pruned)) / len(clips)
        same += whole.index(max(whole)) == pruned.index(max(pruned))
    assert found.divergence_nats == pytest.approx(divergence, rel=1e-4)
    assert found.divergence_nats > 1e-4
    assert found.agreement_percent == pytest.approx(100 * same / len(clips))
