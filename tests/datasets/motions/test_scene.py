"""The label is what the picture shows, and nothing but the order of the frames shows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sta.datasets.motions.clips import (
    CLASS_NAMES,
    CLASSES,
    ClipSource,
    label_of_index,
    render_scene,
)
from sta.datasets.motions.scene import (
    MOTIONS,
    Difficulty,
    Scene,
    Sprite,
    Trajectory,
    place_inside,
    progress,
    sample_scene,
)

AMOUNT = Difficulty()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def scenes_of(name: str, count: int = 12) -> list[Scene]:
    source, label = ClipSource('val', seed=3, size=64), CLASS_NAMES.index(name)
    return [source.scene(10 * i + label) for i in range(count)]


def seen_actor(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Centre (T, 2) and area (T,), in frame sides, of the pixels that the actor changes."""
    others = tuple(s for i, s in enumerate(scene.sprites) if i not in scene.actors)
    change = np.abs(render_scene(scene) - render_scene(replace(scene, sprites=others))).sum(axis=3)
    covered = change > 6
    grid = (np.arange(scene.size) + 0.5) / scene.size
    area = covered.sum(axis=(1, 2))
    x, y = (covered.sum(axis=axis) @ grid / area for axis in (1, 2))
    return np.stack([x, y], axis=1), area / scene.size**2


def test_classes_are_five_motions_and_their_reversals() -> None:
    assert len(CLASSES) == len(set(CLASS_NAMES)) == 10
    assert [item.motion for item in CLASSES[::2]] == [item.motion for item in CLASSES[1::2]]
    assert {item.motion for item in CLASSES} == set(MOTIONS)
    assert [item.is_reversed for item in CLASSES] == [False, True] * 5
    assert np.bincount([label_of_index(i) for i in range(480)]).tolist() == [48] * 10


@pytest.mark.parametrize('motion', MOTIONS)
def test_the_twin_is_the_same_clip_backwards(motion: str) -> None:
    scene = sample_scene(rng(4), motion, size=64, difficulty=AMOUNT)
    forwards = render_scene(scene)
    np.testing.assert_array_equal(render_scene(scene.reversed()), forwards[::-1])
    assert np.abs(forwards[-1] - forwards[0]).mean() > 1


@pytest.mark.parametrize('label', range(10))
def test_a_class_is_drawn_as_its_motion_and_sense_of_time_say(label: int) -> None:
    source = ClipSource('train', size=64)
    drawn, _ = source.generators(40 + label)
    scene = sample_scene(drawn, CLASSES[label].motion, size=64, difficulty=AMOUNT)
    expected = render_scene(scene)[:: -1 if label % 2 else 1]
    np.testing.assert_array_equal(render_scene(source.scene(40 + label)), expected)


@pytest.mark.parametrize(
    ('name', 'axis', 'sign'),
    [
        ('left_to_right', 0, 1),
        ('right_to_left', 0, -1),
        ('moving_up', 1, -1),
        ('moving_down', 1, 1),
    ],
)
def test_shifted_objects_go_where_the_label_says(name: str, axis: int, sign: int) -> None:
    for scene in scenes_of(name):
        (way,) = scene.actor_trajectories()
        steps = sign * np.diff(way.centers[:, axis])
        assert steps.min() >= 0
        assert AMOUNT.shift[0] <= steps.sum() <= AMOUNT.shift[1]
        across = np.ptp(way.centers[:, 1 - axis])
        assert across <= AMOUNT.nuisance_shift < steps.sum()
        seen, _ = seen_actor(scene)
        assert sign * (seen[-1, axis] - seen[0, axis]) > 0.5 * AMOUNT.shift[0]


@pytest.mark.parametrize(('name', 'sign'), [('approaching', 1), ('receding', -1)])
def test_scaled_objects_grow_or_shrink(name: str, sign: int) -> None:
    for scene in scenes_of(name):
        (way,) = scene.actor_trajectories()
        growth = sign * np.diff(np.log(way.sides))
        assert growth.min() >= -1e-12
        assert AMOUNT.zoom[0] <= np.exp(growth.sum()) <= AMOUNT.zoom[1]
        _, area = seen_actor(scene)
        assert (area[-1] / area[0]) ** sign > 1.5


@pytest.mark.parametrize(
    ('name', 'sign'), [('turning_clockwise', 1), ('turning_counter_clockwise', -1)]
)
def test_turned_objects_turn_in_the_said_sense(name: str, sign: int) -> None:
    low, high = np.deg2rad(AMOUNT.turn_degrees)
    for scene in scenes_of(name):
        (way,) = scene.actor_trajectories()
        steps = sign * np.diff(way.angles)
        assert steps.min() >= 0
        assert low <= steps.sum() + 1e-9 and steps.sum() <= high
        assert np.ptp(way.centers, axis=0).max() <= AMOUNT.nuisance_shift


@pytest.mark.parametrize(('name', 'sign'), [('meeting', -1), ('parting', 1)])
def test_pairs_close_or_open_their_distance(name: str, sign: int) -> None:
    for scene in scenes_of(name):
        first, second = scene.actor_trajectories()
        distance = np.linalg.norm(first.centers - second.centers, axis=1)
        steps = sign * np.diff(distance)
        assert steps.min() >= -1e-12
        assert AMOUNT.meet_shift[0] <= steps.sum() + 1e-9
        assert distance.min() < 1.1 * AMOUNT.meet_side[1]


def test_a_growing_angle_is_clockwise_on_the_screen() -> None:
    """A white square with its red mark to the right has the mark below after a quarter turn."""
    patch = np.ones((20, 20, 4), np.float32) * [255, 255, 255, 1]
    patch[6:14, 14:, 1:3] = 0
    still = np.full((2, 2), 0.5)
    way = Trajectory(still, np.full(2, 0.5), np.array([0.0, np.pi / 2]))
    scene = Scene(
        size=40,
        background=np.zeros((40, 40, 3), np.float32),
        offsets=np.zeros((2, 2)),
        sprites=(Sprite(patch.astype(np.float32), way),),
        actors=(0,),
        gains=np.ones(2),
    )
    before, after = render_scene(scene)
    red = [255, 0, 0]
    np.testing.assert_allclose(before[20, 27], red, atol=1)
    np.testing.assert_allclose(after[27, 20], red, atol=1)
    np.testing.assert_allclose(after[20, 27], [255, 255, 255], atol=1)


def test_actors_stay_in_the_frame() -> None:
    """Three quarters of the radius is inside at every frame: nothing decisive happens outside."""
    source = ClipSource('train', size=64)
    for index in range(100):
        for way in source.scene(index).actor_trajectories():
            reach = 0.75 * way.sides[:, None] / 2
            assert (way.centers - reach).min() > -0.02
            assert (way.centers + reach).max() < 1.02


def test_a_way_longer_than_the_frame_is_centred() -> None:
    centers = np.array([[0.0, 0.0], [2.0, 0.1]])
    placed = place_inside(rng(), centers, np.full(2, 0.2))
    np.testing.assert_allclose(placed[:, 0], [-0.5, 1.5])
    assert 0.075 <= placed[0, 1] <= 0.825


def test_the_speed_is_the_same_forwards_and_backwards_on_average() -> None:
    """Else a pause at the start would tell a class from its twin."""
    draws = [progress(rng(seed), 33, AMOUNT) for seed in range(1500)]
    ways = np.stack(draws)
    assert (np.diff(ways) >= 0).all()
    assert (ways[:, 0] == 0).all() and np.allclose(ways[:, -1], 1)
    mean = ways.mean(axis=0)
    np.testing.assert_allclose(mean, 1 - mean[::-1], atol=0.02)
    spread = ways.std(axis=0)
    np.testing.assert_allclose(spread, spread[::-1], atol=0.015)
