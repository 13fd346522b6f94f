"""An evaluation made up for the tests: ten variants, noisy scores, no model."""

from __future__ import annotations

import dataclasses

import numpy as np

from sta.evaluation import Cost, EvaluationResult, VariantResult
from sta.pruning import Variant

NUM_TOKENS = 1568
FAMILIES = {'sta': ('STAPruner', 1.0), 'random': ('RandomPruner', 2.6), 'tome': ('ToMe', 1.4)}


def cost(num_drop: int) -> Cost:
    """The cost of dropping r per chunk at three stages, roughly."""
    after = tuple(NUM_TOKENS - k * num_drop for k in (8, 12, 14)) if num_drop else ()
    return Cost(
        num_tokens=NUM_TOKENS,
        tokens_after_stages=after,
        gflops_per_view=180.49 - 1.47 * num_drop + 0.0021 * num_drop**2,
        num_parameters=86_534_800,
    )


def scored(variant: Variant, found: Cost, noise: float, labels: np.ndarray) -> VariantResult:
    """Scores that are right less often the larger the noise."""
    random = np.random.default_rng(len(variant.name))
    logits = 4.0 * np.eye(10)[labels] + (1.25 + noise) * random.normal(size=(len(labels), 10))
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    speed = 7.5 * 180.49 / found.gflops_per_view
    return VariantResult(variant, found, scores.astype(np.float32), speed)


def result(
    *, num_videos: int = 300, drops: tuple[int, ...] = (32, 48, 64), unpruned: bool = True
) -> EvaluationResult:
    """No pruning and every family at every drop."""
    labels = np.arange(num_videos) % 10
    variants = [scored(Variant('unpruned'), cost(0), 0.0, labels)] if unpruned else []
    for family, (pruner, harm) in FAMILIES.items():
        for drop in drops:
            variant = Variant(
                f'{family}-{drop}', {'type': pruner, 'seed': 0}, drop, family, str(drop)
            )
            variants.append(scored(variant, cost(drop), harm * drop / 100, labels))
    return EvaluationResult(
        variants=tuple(variants),
        labels=labels,
        names=tuple(f'clip_{i:03d}.mp4' for i in range(num_videos)),
        views=15,
        hardware='Example CPU @ 2.00 GHz, 2 cores',
        precision='fp32',
        wall_s=123.456,
        wait_share=0.0789,
    )


def with_seeds() -> EvaluationResult:
    """Two draws of the random pruner at one schedule, behind no pruning."""
    found = result(drops=(32,))
    draws = []
    for seed, scored in ((0, found.variants[1]), (1, found.variants[2])):
        variant = Variant(f'random[seed={seed}]-32', {'seed': seed}, 32, 'random', '32')
        draws.append(dataclasses.replace(scored, variant=variant))
    return dataclasses.replace(found, variants=(found.variants[0], *draws))
