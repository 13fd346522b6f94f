"""Shards deal whole batches out; together they are the list."""

from __future__ import annotations

import pytest

from sta.engine.batches import plan_batches
from sta.engine.shard import WHOLE, Shard, parse_shard
from sta.errors import ConfigError


@pytest.mark.parametrize('count', [1, 2, 3, 5])
def test_shards_are_the_batches_of_the_whole_list(count: int) -> None:
    whole = plan_batches(19, 4, ())
    assert whole == [range(0, 4), range(4, 8), range(8, 12), range(12, 16), range(16, 19)]
    shards = [plan_batches(19, 4, (), Shard(i, count)) for i in range(1, count + 1)]
    assert sorted((batch for shard in shards for batch in shard), key=lambda b: b.start) == whole
    sizes = [len(shard) for shard in shards]
    assert max(sizes) - min(sizes) <= 1


def test_what_is_done_does_not_change_who_does_what() -> None:
    assert plan_batches(19, 4, range(8), Shard(1, 2)) == [range(8, 12), range(16, 19)]
    assert plan_batches(19, 4, range(8), Shard(2, 2)) == [range(12, 16)]


def test_as_typed() -> None:
    assert parse_shard('2/4') == Shard(2, 4)
    assert str(Shard(2, 4)) == '2/4'
    assert parse_shard('1/1') == WHOLE


@pytest.mark.parametrize('text', ['0/4', '5/4', '1/0', '2', 'a/b', '1/2/3', '-1/2', ''])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(ConfigError, match='NUMBER/COUNT such as 1/4'):
        parse_shard(text)


def test_no_shard_is_empty() -> None:
    Shard(1, 5).check(19, 4)
    with pytest.raises(ConfigError, match='6 shards are too many: 19 videos .* at most 5'):
        Shard(1, 6).check(19, 4)
