"""Made up for the tests: an evaluation of ten variants with noisy scores, and comparisons."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from sta.evaluation import (
    ClassComparison,
    Cost,
    EvaluationResult,
    VariantResult,
    compare_classes,
)
from sta.pruning import Variant
from sta.report import Evaluation, evaluation_of

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


FACTS = {'command': 'python tools/test.py c.py w.pth', 'config': 'c.py', 'checkpoint': 'w.pth'}


def evaluated(found: EvaluationResult, **facts: Any) -> Evaluation:
    """As tools/test.py summarises it."""
    return evaluation_of(found, **{**FACTS, **facts})


# Comparisons from predictions, without scores of a model.
NAMES = ('push', 'pull|over', 'never seen', 'lift, "up"')
#          push: 2 lost, 1 gained          pull: 7 lost                 lift: 1 gained
LABELS = [0, 0, 0, 0, 0, 0, 0, 0] + [1, 1, 1, 1, 1, 1, 1, 1] + [3, 3]
BEFORE = [0, 0, 0, 0, 0, 0, 1, 1] + [1, 1, 1, 1, 1, 1, 1, 1] + [3, 0]
AFTER = [0, 0, 0, 0, 1, 3, 0, 1] + [3, 3, 3, 3, 3, 0, 0, 1] + [3, 3]


def compared(
    labels: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    names: Sequence[str],
    variants: tuple[str, str] = ('unpruned', 'sta-8'),
) -> ClassComparison:
    """From the predictions of both variants."""
    eye = np.eye(len(names), dtype=np.float32)
    first, second = eye[list(before)], eye[list(after)]
    return compare_classes(first, second, np.array(labels), variants=variants, class_names=names)


def small() -> ClassComparison:
    """Four classes, of which one has no videos."""
    return compared(LABELS, BEFORE, AFTER, NAMES)


def staircase(
    num_classes: int, names: Sequence[str] | None = None, **settings: tuple[str, str]
) -> ClassComparison:
    """Classes of 20 videos; class i loses i of ten right ones, beyond ten it gains the rest.

    What is not right is taken for the next class.
    """
    labels, before, after = [], [], []
    for label in range(num_classes):
        other, lost = (label + 1) % num_classes, min(label, 10)
        gained = min(label - lost, 10)
        labels += [label] * 20
        before += [label] * 10 + [other] * 10
        after += [other] * lost + [label] * (10 - lost + gained) + [other] * (10 - gained)
    names = names or [f'class {label}' for label in range(num_classes)]
    return compared(labels, before, after, names, **settings)
