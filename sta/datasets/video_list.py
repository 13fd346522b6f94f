"""A list of videos with labels that fails with the name of the file and the line at fault."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS

from .errors import DataError

_LINE = re.compile(r'^(?P<path>.+?)[\s,]+(?P<label>-?\d+)$')


@DATASETS.register_module()
class VideoListDataset(VideoDataset):
    """Videos named in a text file, one 'path label' a line (mmaction2's and VideoMAE's lists).

    Paths may hold blanks; the label is what follows the last blank or comma.

    Args:
        ann_file: the list.
        pipeline: transforms.
        data_prefix: dict(video=folder the paths are relative to).
        num_classes: labels must lie below it; None does not check.
        max_videos: use at most this many, evenly spaced over the list; None uses all.
        test_mode: evaluation rather than training.

    Raises:
        DataError: no such list, a line that is not 'path label', a label out of range.
    """

    def __init__(
        self,
        *,
        ann_file: str,
        pipeline: list[Any],
        data_prefix: dict[str, str] | None = None,
        num_classes: int | None = None,
        max_videos: int | None = None,
        test_mode: bool = False,
    ) -> None:
        if max_videos is not None and max_videos < 1:
            raise DataError(f'max_videos must be at least 1, got {max_videos}')
        self.max_videos = max_videos
        super().__init__(
            ann_file,
            pipeline=pipeline,
            data_prefix=data_prefix or dict(video=''),
            num_classes=num_classes,
            test_mode=test_mode,
        )

    def load_data_list(self) -> list[dict]:
        """Parse the list."""
        if not os.path.isfile(self.ann_file):
            raise DataError(
                f'annotation file {self.ann_file} does not exist; it lists the videos, one '
                f"'path label' a line (see data/README.md)"
            )
        folder = self.data_prefix['video'] or ''
        try:
            lines = Path(self.ann_file).read_text(encoding='utf-8-sig').splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f'annotation file {self.ann_file} is not UTF-8: {error}') from None
        entries = [(i, line.strip()) for i, line in enumerate(lines, 1) if line.strip()]
        if not entries:
            raise DataError(f'annotation file {self.ann_file} is empty')
        videos = [self._parse(line, number, folder) for number, line in entries]
        if self.max_videos is None or self.max_videos >= len(videos):
            return videos
        return [videos[i * len(videos) // self.max_videos] for i in range(self.max_videos)]

    def _parse(self, line: str, number: int, folder: str) -> dict:
        match = _LINE.match(line)
        if match is None:
            raise DataError(f"{self.ann_file}, line {number}: expected 'path label', got {line!r}")
        label = int(match['label'])
        if self.num_classes is not None and not 0 <= label < self.num_classes:
            raise DataError(
                f'{self.ann_file}, line {number}: label {label} is not between 0 and '
                f'{self.num_classes - 1} (num_classes of the config)'
            )
        return dict(filename=os.path.join(folder, match['path']), label=label)

    def missing_files(self) -> list[str]:
        """Videos of the list that are not on the disk."""
        names = (self.get_data_info(i)['filename'] for i in range(len(self)))
        return [name for name in names if not os.path.isfile(name)]

    def __getitem__(self, index: int) -> dict:
        """Decode and transform one video.

        Raises:
            DataError: it cannot be decoded; never a silent substitute.
        """
        if not self._fully_initialized:
            self.full_init()
        name = self.get_data_info(index)['filename']
        try:
            data = self.prepare_data(index)
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DataError(f'video {name} cannot be used: {reason[:200]}') from error
        data['data_samples'].set_metainfo(dict(index=index, filename=name))
        return data
