"""A share of the list that is evaluated on its own: every K-th batch."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from sta.errors import ConfigError


class Shard(NamedTuple):
    """One of several parts of a list; batches are dealt out like cards.

    Whole batches, so that a video has the neighbours, and to the last bit the scores, that it has
    when the list is evaluated at once.

    Attributes:
        number: from 1 on.
        count: of all.
    """

    number: int
    count: int

    def __str__(self) -> str:
        """As it is typed: 2/4."""
        return f'{self.number}/{self.count}'

    def check(self, num_videos: int, batch_size: int) -> None:
        """Refuse a division that leaves shards empty.

        Raises:
            ConfigError: says how many shards are possible, or that there are no batches.
        """
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError(
                f'batch_size must be a whole number of at least 1, got {batch_size!r}'
            )
        batches = math.ceil(num_videos / batch_size)
        if self.count > batches:
            raise ConfigError(
                f'{self.count} shards are too many: {num_videos} videos in batches of '
                f'{batch_size} make at most {batches}'
            )


WHOLE = Shard(1, 1)


def parse_shard(text: str) -> Shard:
    """A shard as typed, 2/4.

    Raises:
        ConfigError: anything else.
    """
    found = re.fullmatch(r'(\d+)/(\d+)', text.strip())
    shard = Shard(int(found[1]), int(found[2])) if found else Shard(0, 0)
    if not 1 <= shard.number <= shard.count:
        raise ConfigError(f'--shard takes NUMBER/COUNT such as 1/4 to 4/4, got {text!r}')
    return shard
