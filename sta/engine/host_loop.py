"""mmaction2's own data set, decoding and test loop, as the baseline of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from sta.checkpoints import load_checkpoint
from sta.datasets.annotations import read_annotations
from sta.datasets.guard import through_memory
from sta.errors import DataError
from sta.pruning.variants import chosen_variants

from .batches import living_workers
from .session import build_model

# Our transforms, and those of mmaction2 that do the same without surviving broken files.
_HOST_TRANSFORMS = {'OpenVideo': 'DecordInit', 'DecodeFrames': 'DecordDecode'}


def run_host_loop(config: Config, checkpoint: str, *, schedule: str, work_dir: str) -> float:
    """Evaluate one schedule with mmengine's TestLoop and mmaction2's AccMetric.

    Args:
        config: with model and test_dataloader.
        checkpoint: weights.
        schedule: as typed; the first pruner of test_cfg is used.
        work_dir: folder of mmengine's logs.

    Returns:
        Top-1 in per cent.
    """
    model = build_model(config)
    load_checkpoint(model, checkpoint)
    first = dict(pruners=[dict(config.test_cfg.pruners[0])])
    model.backbone.set_variant(chosen_variants(first, schedules=[schedule], pruners=None)[-1])
    Path(work_dir).mkdir(parents=True, exist_ok=True)
    runner = Runner(
        model=model,
        work_dir=work_dir,
        test_dataloader=host_dataloader(config.test_dataloader, Path(work_dir, 'list.txt')),
        test_cfg=dict(type='TestLoop'),
        test_evaluator=dict(type='AccMetric'),
        default_scope='mmaction',
        log_level='WARNING',
    )
    through_memory(runner.test_loop.dataloader)
    with living_workers():
        return 100.0 * runner.test()['acc/top1']


def host_dataloader(settings: Any, list_path: Path) -> dict[str, Any]:
    """Settings of our data loader, for mmaction2's data set and decoding transforms.

    Args:
        settings: of our data loader.
        list_path: where the list is written again, with tabs: mmaction2 splits lines at blanks.

    Raises:
        DataError: a name holds a tab; or see :func:`read_annotations`.
    """
    ours = settings.dataset
    entries = read_annotations(ours.ann_file)
    if any('\t' in path for path, _ in entries):
        raise DataError(
            f'{ours.ann_file}: mmaction2 cannot read names with tabs: rename the videos'
        )
    lines = (f'{path}\t{label}\n' for path, label in entries)
    list_path.write_text(''.join(lines), encoding='utf-8', errors='surrogateescape')
    pipeline = [
        {**step, 'type': _HOST_TRANSFORMS.get(step['type'], step['type'])} for step in ours.pipeline
    ]
    dataset = dict(
        type='VideoDataset',
        ann_file=str(list_path),
        delimiter='\t',
        data_prefix=ours.data_prefix,
        num_classes=ours.num_classes,
        pipeline=pipeline,
        test_mode=True,
    )
    return {**settings, 'dataset': dataset}
