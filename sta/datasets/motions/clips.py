"""Clips of the motion data set and their ten classes: five motions, each with its reverse.

A class is a motion and a sense of time. Both classes of a pair draw their scenes from the same
distribution and the second one plays them backwards, so no single frame and no unordered set of
frames can tell the two apart.
"""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from sta.atomic import replacing, write_bytes
from sta.errors import MotionsError

from .scene import EASY, Difficulty, Scene, Sprite, sample_scene, uniform


@dataclass(frozen=True)
class MotionClass:
    """One class: its name, the motion its scenes are drawn from, and its sense of time."""

    name: str
    motion: str
    is_reversed: bool


CLASSES: tuple[MotionClass, ...] = (
    MotionClass('left_to_right', 'horizontal', False),
    MotionClass('right_to_left', 'horizontal', True),
    MotionClass('moving_up', 'vertical', False),
    MotionClass('moving_down', 'vertical', True),
    MotionClass('approaching', 'scale', False),
    MotionClass('receding', 'scale', True),
    MotionClass('turning_clockwise', 'turn', False),
    MotionClass('turning_counter_clockwise', 'turn', True),
    MotionClass('meeting', 'meet', False),
    MotionClass('parting', 'meet', True),
)

CLASS_NAMES: tuple[str, ...] = tuple(item.name for item in CLASSES)


def label_of_index(index: int) -> int:
    """Return the label of clip ``index`` of any split: clips go round the classes in turn.

    The label depends on the index alone, so a longer split begins with the clips of a shorter one,
    and a multiple of ten clips is exactly balanced.
    """
    return index % len(CLASSES)


FRAMES_PER_SECOND = 16
CONSTANT_RATE_FACTOR = 25
# One thread, fixed key frames and no look-ahead: the same frames give the same bytes. With
# the look-ahead (mbtree, B-frames) libx264's choices for such small frames vary from call to call.
X264_PARAMS = (
    'threads=1:keyint=16:min-keyint=16:scenecut=0:open-gop=0:bframes=0:no-mbtree=1:rc-lookahead=0'
)


def encode_mp4(frames: np.ndarray) -> bytes:
    """Encode frames as an H.264 yuv420p mp4 file with a key frame at least every 16 frames.

    Args:
        frames: (T, H, W, 3) uint8 RGB, H and W even.

    Returns:
        The bytes of the file; they hold no date and no name of an encoder's build.
    """
    buffer = io.BytesIO()
    with av.open(buffer, 'w', format='mp4', options={'fflags': '+bitexact'}) as container:
        stream = container.add_stream('libx264', rate=FRAMES_PER_SECOND)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = 'yuv420p'
        stream.options = {
            'crf': str(CONSTANT_RATE_FACTOR),
            'preset': 'veryfast',
            'x264-params': X264_PARAMS,
            'flags': '+bitexact',
        }
        for time, pixels in enumerate(frames):
            planes = cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV_I420)
            frame = av.VideoFrame.from_ndarray(planes, format='yuv420p')
            frame.pts, frame.time_base = time, Fraction(1, FRAMES_PER_SECOND)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def render_scene(scene: Scene) -> np.ndarray:
    """Render a scene without the camera's noise; returns (T, S, S, 3) float32 RGB in [0, 255].

    A frame depends on the scene at its own time alone: the reversed scene gives exactly the
    reversed frames.
    """
    frames = np.empty((scene.num_frames, scene.size, scene.size, 3), np.float32)
    for time, frame in enumerate(frames):
        _paint_background(frame, scene, time)
        for sprite in scene.sprites:
            _paint_sprite(frame, sprite, time)
    frames *= scene.gains[:, None, None, None].astype(np.float32)
    return np.clip(frames, 0, 255, out=frames)


def add_noise(frames: np.ndarray, rng: np.random.Generator, deviation: float) -> np.ndarray:
    """Add luma noise to (T, S, S, 3) frames and round; returns uint8.

    The three colours share the noise: 4:2:0 video would average coloured noise away.
    """
    noise = rng.standard_normal((*frames.shape[:3], 1), dtype=np.float32)
    noisy = frames + np.float32(deviation) * noise
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _paint_background(frame: np.ndarray, scene: Scene, time: int) -> None:
    """Fill a frame (S, S, 3) with its part of the background, placed to a fraction of a pixel."""
    x, y = scene.offsets[time]
    shift = np.array([[1, 0, x], [0, 1, y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    frame[:] = cv2.warpAffine(scene.background, shift, (scene.size, scene.size), flags=flags)


def _paint_sprite(frame: np.ndarray, sprite: Sprite, time: int) -> None:
    """Blend one object into a frame (S, S, 3); only the box that holds it is touched."""
    size, way = len(frame), sprite.trajectory
    center, reach = way.centers[time] * size, way.sides[time] * size / 2 + 1
    left, top = np.clip(np.floor(center - reach), 0, size).astype(int)
    right, bottom = np.clip(np.ceil(center + reach), 0, size).astype(int)
    if left >= right or top >= bottom:
        return
    # From a pixel's centre in the box back to the patch: move, turn back, scale.
    zoom = len(sprite.patch) / (way.sides[time] * size)
    cos, sin = zoom * np.cos(way.angles[time]), zoom * np.sin(way.angles[time])
    linear = np.array([[cos, sin], [-sin, cos]])
    offset = len(sprite.patch) / 2 - 0.5 + linear @ (np.array([left, top]) + 0.5 - center)
    matrix = np.column_stack([linear, offset])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(sprite.patch, matrix, (right - left, bottom - top), flags=flags)
    box = frame[top:bottom, left:right]
    box *= 1 - warped[..., 3:]
    box += warped[..., :3]


# Part of the seed: two splits never share a random stream, whatever the user's seed.
SPLIT_CODES: dict[str, int] = {'train': 1, 'val': 2, 'train_easy': 3}
DIFFICULTIES: dict[str, Difficulty] = {'train_easy': EASY}


@dataclass(frozen=True)
class ClipSource:
    """All that the clips of one split depend on besides their index.

    Attributes:
        split: 'train', 'val' or 'train_easy'.
        seed: not negative.
        size: side of a frame in pixels, a multiple of 16 from 64 on: decord cannot read all others.
        difficulty: the amount of everything.
    """

    split: str
    seed: int = 0
    size: int = 112
    difficulty: Difficulty = field(default_factory=Difficulty)

    def __post_init__(self) -> None:
        if self.split not in SPLIT_CODES:
            raise ValueError(
                f'unknown split {self.split!r}: choose one of {", ".join(SPLIT_CODES)}'
            )
        if self.seed < 0:
            raise ValueError(f'the seed must not be negative, got {self.seed}')
        if self.size < 64 or self.size % 16:
            raise ValueError(
                f'the frame size must be a multiple of 16 and at least 64, got {self.size}'
            )

    def generators(self, index: int) -> tuple[np.random.Generator, np.random.Generator]:
        """Return the random generators of clip ``index``: one for its scene, one for its noise."""
        sequence = np.random.SeedSequence([self.seed, SPLIT_CODES[self.split], index])
        scene, noise = (np.random.Generator(np.random.PCG64(child)) for child in sequence.spawn(2))
        return scene, noise

    def scene(self, index: int) -> Scene:
        """Return the scene of clip ``index``, already reversed where its class asks for it."""
        motion_class = CLASSES[label_of_index(index)]
        rng, _ = self.generators(index)
        scene = sample_scene(rng, motion_class.motion, size=self.size, difficulty=self.difficulty)
        return scene.reversed() if motion_class.is_reversed else scene

    def frames(self, index: int) -> np.ndarray:
        """Return the frames (T, size, size, 3) uint8 RGB of clip ``index``."""
        _, rng = self.generators(index)
        deviation = uniform(rng, *self.difficulty.noise)
        return add_noise(render_scene(self.scene(index)), rng, deviation)

    def mp4(self, index: int) -> bytes:
        """Return clip ``index`` as the bytes of an mp4 file."""
        return encode_mp4(self.frames(index))


LABEL_WIDTH = 210
GAP = 3
COLUMNS = 8


def save_contact_sheet(source: ClipSource, path: Path) -> None:
    """Draw the first ten clips, in label order, to a picture file; OSError if that cannot be."""
    sheet = np.concatenate([_row(source, label) for label in range(len(CLASS_NAMES))])
    sheet = cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)
    is_coded, data = cv2.imencode('.png', sheet)
    if not is_coded:
        raise OSError(f'could not encode {path} as PNG')
    if not path.parent.is_dir():  # which would be made
        raise FileNotFoundError(errno.ENOENT, 'no such folder', str(path.parent))
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())


def _row(source: ClipSource, index: int) -> np.ndarray:
    """Draw one clip: its class name and evenly spaced frames."""
    frames = source.frames(index)
    chosen = np.linspace(0, len(frames) - 1, COLUMNS).round().astype(int)
    label = np.full((source.size, LABEL_WIDTH, 3), 255, np.uint8)
    name = CLASS_NAMES[index % len(CLASS_NAMES)].replace('_', ' ')
    font = cv2.FONT_HERSHEY_SIMPLEX
    for line, text in enumerate((name, f'clip {index}, {len(frames)} frames')):
        place = (4, source.size // 2 - 4 + 16 * line)
        cv2.putText(label, text, place, font, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    cells = [cv2.copyMakeBorder(frames[t], 0, GAP, 0, GAP, 0, value=(255,) * 3) for t in chosen]
    named = cv2.copyMakeBorder(label, 0, GAP, 0, 0, 0, value=(255,) * 3)
    return np.concatenate([named, *cells], axis=1)


# To be raised with every change of the pictures or of the encoding: clips of two kinds never mix.
RENDERING_VERSION = 1
CLIPS_PER_JOB = 8


@dataclass(frozen=True)
class SplitReport:
    """What ``write_split`` did: clips written, clips found already there, bytes of all of them."""

    num_written: int
    num_skipped: int
    num_bytes: int


def clip_path(split: str, index: int) -> str:
    """Return the path of a clip below the data set's folder, e.g. val/left_to_right_000000.mp4."""
    return f'{split}/{CLASS_NAMES[label_of_index(index)]}_{index:06d}.mp4'


def write_split(
    source: ClipSource,
    out: Path,
    *,
    num_clips: int,
    num_workers: int = 1,
    on_progress: Callable[[int], None] = lambda count: None,
) -> SplitReport:
    """Write clips 0 to ``num_clips`` - 1 of a split and, when all are there, its list.

    Clips that are already there are kept, so a run that was killed goes on where it stopped.

    Args:
        source: split, seed, size and difficulty.
        out: the data set's folder; gets SPLIT/, SPLIT.txt, SPLIT.json and classes.txt.
        num_clips: at least 1; of the val split a multiple of the number of classes.
        num_workers: processes; 1 renders in this process.
        on_progress: called with the number of clips that have come to be there since the last call.

    Raises:
        MotionsError: a number out of range, clips of another making in the folder, a failed write.
    """
    _check_numbers(source, num_clips, num_workers)
    try:
        _claim_folder(source, out)
        missing = [i for i in range(num_clips) if not (out / clip_path(source.split, i)).exists()]
        on_progress(num_clips - len(missing))
        for count in _write_clips(source, out, missing, num_workers):
            on_progress(count)
        sizes = _write_lists(source, out, num_clips)
    except BrokenProcessPool:
        raise MotionsError(
            'a worker process died, perhaps for want of memory: run the same command again with '
            'fewer --workers, finished clips are kept'
        ) from None
    except OSError as error:
        where = error.filename or out
        raise MotionsError(f'cannot write to {where}: {error.strerror or error}') from error
    return SplitReport(len(missing), num_clips - len(missing), sum(sizes))


def _check_numbers(source: ClipSource, num_clips: int, num_workers: int) -> None:
    """Raise MotionsError for numbers that make no split."""
    num_classes = len(CLASS_NAMES)
    if num_clips < 1:
        raise MotionsError(f'the number of clips must be at least 1, got {num_clips}')
    if source.split == 'val' and num_clips % num_classes:
        raise MotionsError(
            f'the val split is balanced: its number of clips must be a multiple of {num_classes}, '
            f'got {num_clips}'
        )
    if num_workers < 1:
        raise MotionsError(f'the number of workers must be at least 1, got {num_workers}')


def _claim_folder(source: ClipSource, out: Path) -> None:
    """Make the split's folder and note how its clips are made; refuse clips of another making."""
    folder, note = out / source.split, out / f'{source.split}.json'
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({'rendering': RENDERING_VERSION, **asdict(source)}, indent=1) + '\n'
    found = note.read_text() if note.exists() else None
    if found != content and any(folder.glob('*.mp4')):
        raise MotionsError(
            f'{folder} holds clips made with another seed, size, difficulty or version of the '
            'generator: delete it or choose another --out'
        )
    write_bytes(note, content.encode())


def _write_clips(
    source: ClipSource, out: Path, indices: list[int], num_workers: int
) -> Iterator[int]:
    """Render and write clips; yields how many each finished job has written."""
    jobs = [indices[i : i + CLIPS_PER_JOB] for i in range(0, len(indices), CLIPS_PER_JOB)]
    if num_workers == 1:
        yield from (_write_job(source, out, job) for job in jobs)
        return
    # Spawned, not forked: video libraries hold threads and locks that do not survive a fork.
    context = multiprocessing.get_context('spawn')
    num_workers = min(num_workers, max(len(jobs), 1))
    pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_start_worker)
    try:
        futures = [pool.submit(_write_job, source, out, job) for job in jobs]
        yield from (future.result() for future in as_completed(futures))
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Set up a worker: one core each, and an interrupt is the parent's to handle."""
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write_job(source: ClipSource, out: Path, indices: list[int]) -> int:
    """Write some clips; returns how many."""
    for index in indices:
        write_bytes(out / clip_path(source.split, index), source.mp4(index))
    return len(indices)


def _write_lists(source: ClipSource, out: Path, num_clips: int) -> list[int]:
    """Write SPLIT.txt and classes.txt; returns the size of each clip in bytes."""
    paths = [clip_path(source.split, index) for index in range(num_clips)]
    lines = [f'{path} {label_of_index(index)}\n' for index, path in enumerate(paths)]
    write_bytes(out / 'classes.txt', ''.join(f'{name}\n' for name in CLASS_NAMES).encode())
    write_bytes(out / f'{source.split}.txt', ''.join(lines).encode())
    return [(out / path).stat().st_size for path in paths]
