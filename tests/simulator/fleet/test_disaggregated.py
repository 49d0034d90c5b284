"""Requests that are prefilled in one pool and decoded in another, on timelines done by hand.

Every step takes 10 ns. A prompt of 64 tokens is a cache of 4 MiB here, on a link of 4 MiB in 25 ns.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.kv_payload import kv_payload
from servecast.simulator.fleet.fleet import Fleet, Pool
from servecast.simulator.fleet.outages import Outage
from servecast.simulator.fleet.simulate_fleet import simulate_fleet
from servecast.simulator.fleet.transfer import Transfer
from servecast.simulator.scheduler import SchedulerLimits
from servecast.traces.classes import Classes
from servecast.traces.reshape import closed_loop
from servecast.traces.workload import Workload
from tests.constant_cost import ConstantStepCost
from tests.driver import Arrival
from tests.toy_deployments import DENSE
from tests.two_sides import Sides, served, sides

STEP = ConstantStepCost(10)
BYTES = kv_payload(DENSE, DENSE, 64).received_bytes
LINK = Transfer(bw_bytes_per_s=BYTES / 25e-9, latency_s=0.0)
DECODE_FIRST = replace(LINK, first_token="decode")


def limits(
    num_blocks: int = 1024, max_num_seqs: int = 8, *, caching: bool = False
) -> SchedulerLimits:
    length = min(1024, num_blocks * 16)
    return SchedulerLimits(max_num_seqs, 64, length, num_blocks, 16, enable_prefix_caching=caching)


def times(found: Sides) -> list[tuple[int, int]]:
    """First and last token of each request that was decoded."""
    records = found.records()
    return list(zip(records.first_token_ns.tolist(), records.finish_ns.tolist(), strict=True))


def test_the_client_sees_the_first_token_of_the_prefill_side_and_waits_for_the_second() -> None:
    """Prompt 0–10, transfer 10–35, tokens 2 and 3 at 45 and 55."""
    found = served(sides(limits(), STEP, LINK), [Arrival(0, 0, 64, 3)])
    assert times(found) == [(10, 55)]
    assert found.records().tpot_ns.tolist() == [22.5]
    waits, counts = found.decode[0].log.inter_token_ns(STEP.decode_run)
    gaps = {
        wait: count for wait, count in zip(waits.tolist(), counts.tolist(), strict=True) if count
    }
    assert gaps == {35: 1, 10: 1}


def test_or_that_of_the_decode_side_which_computes_the_last_prompt_token_again() -> None:
    """Prompt 0–10, transfer 10–35, tokens 1, 2 and 3 at 45, 55 and 65."""
    found = served(sides(limits(), STEP, DECODE_FIRST), [Arrival(0, 0, 64, 3)])
    assert times(found) == [(45, 65)]


def test_a_request_of_one_token_ends_where_its_prompt_is_computed() -> None:
    found = served(sides(limits(), STEP, LINK), [Arrival(0, 0, 64, 1)])
    assert len(found.records()) == 0
    assert found.prefill[0].recorder.rows.column("finish_ns").tolist() == [10]
    assert found.prefill[0].scheduler.blocks.free == 1024


def test_a_transfer_that_ends_within_a_step_is_heard_of_a_step_later() -> None:
    """The first request decodes at 35, 45, 55 …; the second one's transfer is over at 60.

    The step that starts at 65 asks, so the one that starts at 75 computes it.
    """
    found = served(sides(limits(), STEP, LINK), [Arrival(0, 0, 64, 9), Arrival(1, 0, 64, 2)])
    assert times(found) == [(10, 115), (20, 85)]


def test_transfers_queue_on_the_adapters_of_one_sender() -> None:
    """Prompts at 10 and 20, to two receivers: 10–35 and, behind it, 35–60."""
    arrivals = [Arrival(0, 0, 64, 2), Arrival(1, 0, 64, 2)]
    found = served(sides(limits(), STEP, LINK, (1, 2)), arrivals)
    assert times(found) == [(10, 45), (20, 70)]


def test_transfers_of_two_pairs_do_not_wait_for_each_other() -> None:
    arrivals = [Arrival(0, 0, 64, 2), Arrival(1, 0, 64, 2)]
    found = served(sides(limits(), STEP, LINK, (2, 2)), arrivals)
    assert times(found) == [(10, 45), (10, 45)]


def test_a_prompt_keeps_its_blocks_until_they_are_fetched() -> None:
    """Room for one prompt: the next one begins when the first is across, at 35."""
    arrivals = [Arrival(0, 0, 64, 2), Arrival(1, 0, 64, 2)]
    found = served(sides(limits(4), STEP, LINK, decode_limits=limits()), arrivals)
    assert times(found) == [(10, 45), (45, 80)]


def test_nothing_is_sent_before_there_are_blocks_for_it() -> None:
    """Room for one request where they decode: the second is sent when the first is over, at 45."""
    arrivals = [Arrival(0, 0, 60, 2), Arrival(1, 0, 60, 2)]
    found = served(sides(limits(), STEP, LINK, decode_limits=limits(4)), arrivals)
    assert times(found) == [(10, 45), (20, 80)]


def test_who_is_preempted_is_computed_again_where_it_decodes() -> None:
    """Two requests of four blocks that grow to five each, in a cache of nine."""
    arrivals = [Arrival(0, 0, 62, 12), Arrival(1, 0, 62, 12)]
    tight = replace(limits(), num_blocks=9, max_model_len=144)
    found = served(sides(limits(), STEP, LINK, decode_limits=tight), arrivals)
    assert found.records().preemptions.tolist() == [0, 1]
    assert [len(engine.log) > 0 for engine in found.prefill] == [True]
    assert found.prefill[0].recorder.rows.column("index").tolist() == [0, 1]


def test_layer_by_layer_only_the_rest_is_exposed() -> None:
    whole = served(sides(limits(), STEP, LINK), [Arrival(0, 0, 64, 2)])
    layered = replace(LINK, by_layer=True)
    exposed = served(sides(limits(), STEP, layered), [Arrival(0, 0, 64, 2)])
    assert times(whole) == times(exposed) == [(10, 45)]  # 16 layers' stops of 62.5 µs do not pay
    slow = ConstantStepCost(10_000_000)
    long = Transfer(bw_bytes_per_s=BYTES / 9e-3, latency_s=0.0)
    late = served(sides(limits(), slow, long), [Arrival(0, 0, 64, 2)])
    early = served(sides(limits(), slow, replace(long, by_layer=True)), [Arrival(0, 0, 64, 2)])
    assert times(late) == [(10_000_000, 29_000_000)]
    assert times(early) == [(10_000_000, 20_000_000 + 16 * 62_500 + 9_000_000 // 16)]


def test_layers_cannot_be_sent_before_there_are_blocks_for_them() -> None:
    """The second request finds no room until its prompt is computed long ago: all is exposed."""
    slow, tight = ConstantStepCost(10_000_000), limits(4)
    long = Transfer(bw_bytes_per_s=BYTES / 9e-3, latency_s=0.0, by_layer=True)
    arrivals = [Arrival(0, 0, 60, 4), Arrival(1, 0, 60, 2)]
    (_, ends), (_, finish) = times(
        served(sides(limits(), slow, long, decode_limits=tight), arrivals)
    )
    assert finish == ends + 9_000_000 + 10_000_000


def test_short_prompts_stay_with_those_who_decode() -> None:
    short = replace(LINK, max_local_prefill_tokens=32)
    found = served(sides(limits(), STEP, short), [Arrival(0, 0, 32, 2), Arrival(1, 0, 33, 2)])
    assert found.prefill[0].recorder.rows.column("index").tolist() == [1]
    assert times(found)[0] == (10, 20)


def test_so_does_a_prompt_that_is_mostly_cached_there() -> None:
    short = replace(LINK, max_local_prefill_tokens=32)
    arrivals = [
        Arrival(0, 0, 64, 2, ((0, 4),)),
        Arrival(1, 1000, 64, 2, ((0, 4),)),
        Arrival(2, 2000, 64, 2, ((9, 4),)),
    ]
    found = served(sides(limits(caching=True), STEP, short), arrivals)
    assert found.prefill[0].recorder.rows.column("index").tolist() == [0, 2]
    assert found.records().cached_tokens.tolist() == [0, 48, 0]


def test_only_what_is_not_cached_there_is_sent() -> None:
    """The second prompt begins with two blocks that the decode side has: half the transfer."""
    arrivals = [Arrival(0, 0, 64, 2, ((0, 4),)), Arrival(1, 1000, 64, 2, ((0, 2), (7, 2)))]
    found = served(sides(limits(caching=True), STEP, LINK), arrivals)
    assert times(found)[1] == (1010, 1010 + round(25 / 2) + 10)


def workload(count: int = 40, output_tokens: int = 20) -> Workload:
    return Workload(
        name="steady",
        arrival_ns=np.arange(count, dtype=np.int64) * 20_000_000,
        prompt_tokens=np.full(count, 300, dtype=np.int64),
        output_tokens=np.where(np.arange(count) % 4 == 0, 1, output_tokens),
        max_tokens=np.full(count, 64, dtype=np.int64),
    )


def fleet(transfer: Transfer | None = None, prefill: int = 1, decode: int = 2) -> Fleet:
    return Fleet(
        (
            Pool("prompts", replace(DENSE, replicas=prefill), "prefill"),
            Pool("outputs", replace(DENSE, replicas=decode), "decode"),
        ),
        transfer=transfer,
    )


@pytest.mark.parametrize("first_token", ["prefill", "decode"])
def test_a_fleet_has_one_record_for_each_request_and_pays_for_both_pools(first_token: str) -> None:
    source = Transfer(first_token="prefill" if first_token == "prefill" else "decode")
    result = simulate_fleet(fleet(source), workload())
    assert result.records.index.tolist() == list(range(40))
    assert result.records.output_tokens.sum() == workload().output_tokens.sum()
    last, first = result.records.finish_ns.max(), result.records.arrival_ns.min()
    assert result.gpu_hours == pytest.approx(3 * (last - first) / 3.6e12)
    ended_at_prefill = set(result.records.replica[::4].tolist()) == {0}
    assert ended_at_prefill == (first_token == "prefill")


def test_clients_of_a_closed_loop_send_the_next_request_when_the_last_token_is_out() -> None:
    result = simulate_fleet(fleet(), closed_loop(workload(), 3, 1_000_000))
    arrivals, finishes = result.records.arrival_ns, np.sort(result.records.finish_ns)
    assert len(result.records) == 40
    assert np.sort(arrivals)[3:].tolist() == (finishes[:37] + 1_000_000).tolist()


def test_pools_of_one_role_may_differ() -> None:
    prompts, outputs = fleet().pools
    wide = Pool("wide", replace(DENSE, tensor_parallel_size=2), "prefill")
    result = simulate_fleet(Fleet((prompts, wide, outputs)), workload())
    computed = [
        len(member.engine.recorder.rows.column("index"))
        for member in result.members
        if member.pool.role == "prefill"
    ]
    assert computed == [20, 20]
    assert len(result.records) == 40


def test_some_classes_may_be_served_apart_and_others_whole() -> None:
    apart = tuple(replace(pool, classes=("chat",)) for pool in fleet().pools)
    mixed = replace(workload(), classes=Classes.of(["chat", "code"] * 20))
    result = simulate_fleet(Fleet((*apart, Pool("whole", DENSE))), mixed)
    whole = result.records.replica == 3
    assert whole.tolist() == [False, True] * 20


def test_roles_must_leave_a_way_through() -> None:
    prefill, both = Pool("a", DENSE, "prefill"), Pool("b", DENSE)
    with pytest.raises(InputError, match="no way through pools of the roles prefill"):
        Fleet((prefill,))
    with pytest.raises(InputError, match="both, prefill"):
        Fleet((prefill, both))
    with pytest.raises(InputError, match="every pool serves requests whole"):
        Fleet((both,), transfer=Transfer())


def test_what_is_not_simulated_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="gain or lose replicas"):
        Fleet(fleet().pools, changes=(Outage("prompts", 1, 1),))
    ahead = Fleet(
        tuple(
            replace(pool, deployment=replace(pool.deployment, async_scheduling=True))
            for pool in fleet().pools
        )
    )
    with pytest.raises(UnsupportedError, match="without async_scheduling"):
        simulate_fleet(ahead, workload())


def test_pools_whose_caches_differ_are_refused() -> None:
    pools = fleet().pools
    other = replace(DENSE.model, layers=DENSE.model.layers[:1] * 2)
    mixed = Fleet((pools[0], replace(pools[1], deployment=replace(DENSE, model=other))))
    with pytest.raises(InputError, match="is of no use to"):
        simulate_fleet(mixed, workload())
