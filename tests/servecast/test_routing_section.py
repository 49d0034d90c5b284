"""What a scenario says of routers and of the gateway before them."""

from __future__ import annotations

import pytest

from servecast.domain import deployment, workload
from servecast.errors import InputError, UnsupportedError
from servecast.fleets import fleet
from servecast.loading import loads
from servecast.primitives.routing_options import Gateway, RoutingOptions
from servecast.scenario import Scenario
from servecast.simulator.simulate import simulate
from servecast.tables import remarks, result_json


def scenario(deployed: str, rest: str = "") -> Scenario:
    return loads(f"""
        model: meta-llama/Llama-3.1-8B-Instruct
        seed: 3
        hardware: {{gpu: h100_sxm, gpus: 4}}
        engine: {{name: vllm, version: "0.32"}}
        deployment: {{replicas: 2, {deployed}}}
        workload: {{synthetic: chat, requests: 40, rate: 30/s}}
        slo: []
        {rest}
        """)


def test_options_reach_the_router_with_the_scenario_s_seed() -> None:
    stated = scenario(
        "routing: prefix_affinity, routing_options: {refresh: 50ms, prefix_weight: 9}"
    )
    options = RoutingOptions(refresh_ms=50.0, prefix_weight=9.0, seed=3)
    assert deployment(stated).routing_options == options
    assert loads(stated.dump()) == stated


def test_a_list_of_routers_takes_the_options_of_all_and_each_reads_its_own() -> None:
    stated = scenario("routing: [round_robin, least_kv], routing_options: {refresh: 50ms}")
    turns = deployment(stated, {"routing": "round_robin"})
    assert turns.routing_options == RoutingOptions(seed=3)
    looks = deployment(stated, {"routing": "least_kv"})
    assert looks.routing_options == RoutingOptions(refresh_ms=50.0, seed=3)


def test_an_option_that_nobody_reads_is_refused() -> None:
    stated = scenario("routing: round_robin, routing_options: {refresh: 50ms}")
    with pytest.raises(InputError, match="refresh_ms 50 is nothing to round_robin"):
        deployment(stated)


def test_a_gateway_turns_requests_away_and_the_answer_says_so() -> None:
    stated = scenario("routing: least_outstanding, gateway: {max_outstanding: 2, max_wait: 1s}")
    one = deployment(stated)
    assert one.gateway == Gateway(2, 0, 1.0)
    result = simulate(one, workload(stated))
    away = len(result.turned_away)
    assert away > 0
    assert len(result.records) + away == result.arrived == 40
    assert f"turned away by the gateway: {away} requests" in remarks(result, [one])
    assert result_json(result, [])["turned_away"] == away
    assert result_json(result, [])["rejected"] == 0


def test_pools_have_no_gateway_yet() -> None:
    pools = "pools: [{name: a}, {name: b}]"
    with pytest.raises(UnsupportedError, match="gateway"):
        fleet(scenario("gateway: {max_outstanding: 2}", pools))


def test_pools_share_the_router_s_options() -> None:
    pools = "pools: [{name: a}, {name: b}]"
    found = fleet(scenario("routing: least_kv, routing_options: {refresh: 50ms}", pools))
    assert found.routing_options == RoutingOptions(refresh_ms=50.0, seed=3)
