"""Which rank the engine's own front end chooses."""

from __future__ import annotations

from dataclasses import dataclass

from servecast.simulator.rank_balancer import RankBalancer


@dataclass
class Load:
    """What a front end knows of a rank."""

    outstanding: int
    waiting: int = 0
    used: float = 0.0

    def kv_used(self, now_ns: int) -> float:
        return self.used


def chosen(*ranks: Load) -> int:
    return RankBalancer().get_core_engine_for_request(ranks, 0)


def test_equals_take_turns() -> None:
    balancer, ranks = RankBalancer(), [Load(0), Load(0), Load(0)]
    turns = [balancer.get_core_engine_for_request(ranks, 0) for _ in range(6)]
    assert turns == [0, 1, 2, 0, 1, 2]


def test_the_fewest_requests_win() -> None:
    assert chosen(Load(5), Load(3), Load(4)) == 1


def test_a_queue_counts_more_where_the_cache_is_more_than_half_full() -> None:
    assert chosen(Load(4, 2, 0.5), Load(5)) == 0
    assert chosen(Load(4, 2, 0.75), Load(5)) == 1  # 4 + 2 x 6 x 0.25 = 7
    assert chosen(Load(4, 0, 1.0), Load(5)) == 0
