"""mmengine's validation between epochs, on lists with broken videos."""

from __future__ import annotations

from typing import Any

import torch
from mmaction.registry import LOOPS
from mmengine.runner import ValLoop

from sta.datasets.guard import through_memory

from .batches import Batch, collate, living_workers


@LOOPS.register_module()
class SoundVideosValLoop(ValLoop):
    """mmengine's ValLoop that leaves broken videos out and logs how many, instead of ending there.

    Args:
        runner: mmengine's runner.
        dataloader: its validation data loader, or settings of one; its data set leaves
            BrokenVideo in place of what it cannot decode, as VideoListDataset does.
        evaluator: metrics.
    """

    def __init__(self, runner: Any, dataloader: Any, evaluator: Any) -> None:
        super().__init__(runner, dataloader, evaluator)
        self.dataloader.collate_fn = collate
        through_memory(self.dataloader)
        self.num_broken = 0

    def run(self) -> dict[str, float]:
        """Validate; the metrics are those of the videos that could be decoded."""
        self.num_broken = 0
        with living_workers('val_dataloader'):
            metrics = super().run()
        if self.num_broken:
            self.runner.logger.warning(
                f'{self.num_broken} validation videos could not be decoded in this process and '
                f'count nowhere'
            )
        return metrics

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Batch) -> None:
        """Score what is sound of a batch."""
        self.num_broken += len(data_batch.broken)
        if data_batch.data is not None:
            super().run_iter(idx, data_batch.data)
