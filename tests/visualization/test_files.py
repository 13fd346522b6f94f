"""Pictures come out of a file as they went in."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from PIL import Image

from sta.visualization import encode


def film(number: int = 5) -> list[np.ndarray]:
    """A white square that moves over four flat colours."""
    pictures = np.zeros((number, 32, 48, 3), np.uint8)
    pictures[:, :16, :24], pictures[:, 16:, :24] = (68, 1, 84), (253, 231, 37)
    pictures[:, :16, 24:], pictures[:, 16:, 24:] = (33, 145, 140), (205, 205, 205)
    for t in range(number):
        pictures[t, 8:16, 8 * t : 8 * t + 8] = 255
    return list(pictures)


def test_png_is_exact() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(encode([picture], '.png')))) == picture).all()


def test_gif_frames() -> None:
    pictures = film()
    with Image.open(io.BytesIO(encode(pictures, '.gif'))) as found:
        assert found.n_frames == 5 and found.info['loop'] == 0
        for t, picture in enumerate(pictures):
            found.seek(t)
            assert found.info['duration'] == 250
            shown = np.asarray(found.convert('RGB')).astype(int)
            assert np.abs(shown - picture).max() <= 4


def test_mp4_frames() -> None:
    pictures = film()
    with av.open(io.BytesIO(encode(pictures, '.mp4'))) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 4 and stream.codec_context.name == 'h264'
        found = [frame.to_ndarray(format='rgb24') for frame in container.decode(stream)]
    assert len(found) == 5
    for picture, shown in zip(pictures, found):
        assert np.abs(shown.astype(int) - picture).mean() < 6


@pytest.mark.parametrize('suffix', ['.gif', '.mp4', '.png'])
def test_equal_pictures_give_equal_bytes(suffix: str) -> None:
    pictures = film(1 if suffix == '.png' else 5)
    assert encode(pictures, suffix) == encode(pictures, suffix)


def test_another_suffix() -> None:
    with pytest.raises(ValueError, match="one of .png, .gif, .mp4, got '.jpg'"):
        encode(film(), '.jpg')
