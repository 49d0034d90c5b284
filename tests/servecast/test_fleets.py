"""Pools of a scenario: each is the scenario except for what it states, and all serve together."""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast import simulate, simulate_fleet
from servecast.errors import InfeasibleError, InputError, UnsupportedError
from servecast.fleets import fleet, pool_scenario
from servecast.loading import loads
from servecast.scenario import Scenario
from servecast.simulator.fleet.rollout import Rollout
from tests.command import assert_refused, run, write
from tests.servecast.minimal import changed, faults

POOLS = """\
pools:
  - {name: fast, deployment: {replicas: 2}}
  - {name: cheap, hardware: {gpu: l40s}, deployment: {max_num_seqs: 16, quantization: fp8}}
"""
TWO = changed("gpus: 1", "gpus: 3") + POOLS


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def pools_of(scenario: Scenario) -> dict[str, Scenario]:
    return {pool.name: pool_scenario(scenario, pool) for pool in scenario.pools}


def test_a_pool_is_the_scenario_except_for_what_it_states() -> None:
    pools = pools_of(loads(TWO))
    assert pools["fast"].hardware.gpu == ("h100_sxm",)
    assert pools["fast"].hardware.usd_per_gpu_hour == 2.5
    assert pools["cheap"].hardware.gpu == ("l40s",)
    served = {pool.name: pool.deployment for pool in fleet(loads(TWO)).pools}
    assert (served["fast"].max_num_seqs, served["fast"].replicas) == (64, 2)
    assert (served["cheap"].max_num_seqs, served["cheap"].replicas) == (16, 1)


def test_another_gpu_does_not_inherit_a_price() -> None:
    assert pools_of(loads(TWO))["cheap"].hardware.usd_per_gpu_hour is None


def test_another_engine_does_not_inherit_options() -> None:
    other = "  - {name: other, engine: {name: sglang}, deployment: {num_kv_tokens: 9000}}\n"
    with pytest.raises(Exception, match="num_kv_tokens"):
        loads(TWO + other)


def test_a_scenario_with_pools_is_written_and_read_again() -> None:
    scenario = loads(TWO)
    assert loads(scenario.dump()) == scenario


def test_faults_are_placed_in_their_pool() -> None:
    found = faults(TWO.replace("gpu: l40s", "gpu: l40z").replace("max_num_seqs: 16", "max_seq: 1"))
    assert list(found) == ["pools[1].hardware.gpu", "pools[1].deployment.max_seq"]
    assert "did you mean `l40s`" in found["pools[1].hardware.gpu"]


def test_an_open_number_of_replicas_is_refused() -> None:
    with pytest.raises(InputError, match="pool `fast` leaves its number of replicas open"):
        fleet(loads(TWO.replace("replicas: 2", "replicas: auto")))


def test_pools_beyond_the_budget_are_refused() -> None:
    with pytest.raises(InfeasibleError, match=r"3 GPUs at once \(fast 2, cheap 1\), .* is 2"):
        fleet(loads(TWO.replace("gpus: 3", "gpus: 2")))


def test_pools_that_cannot_take_the_same_requests_are_refused() -> None:
    other = TWO.replace("max_num_seqs: 16", "max_model_len: 4096")
    with pytest.raises(InputError, match="differ in max_model_len"):
        fleet(loads(other))


def test_a_pool_among_others_has_no_router_of_its_own() -> None:
    other = TWO.replace("max_num_seqs: 16", "max_num_seqs: 16, routing: least_kv")
    with pytest.raises(InputError, match="pool `cheap` states `routing`, and shares its router"):
        fleet(loads(other))


def test_changes_are_a_list() -> None:
    assert "should be a list" in faults(TWO + "changes: outage\n")["changes"]


def test_two_pools_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="two pools are called `fast`"):
        fleet(loads(TWO.replace("name: cheap", "name: fast")))


def test_simulate_shows_each_pool_and_what_all_cost() -> None:
    write(Path(), TWO)
    told = run("simulate", "small.yaml")
    assert told.code == 0, told.err
    assert "fast (both): " in told.out
    assert "cheap (both): " in told.out
    found = run("simulate", "small.yaml", "--json").json
    assert sum(pool["requests"] for pool in found["pools"]) == found["requests"] == 5
    assert found["gpu_hours"] == pytest.approx(3 * found["duration_s"] / 3600)
    assert [slo["met"] for slo in found["slo"]] == [True]


def test_prices_are_stated_as_they_are_of_one_deployment() -> None:
    one_price = TWO.replace("{gpu: l40s}", "{gpu: l40s, usd_per_gpu_hour: 1}")
    write(Path(), one_price)
    found = run("simulate", "small.yaml", "--json").json
    price = f"${found['usd_per_million_output_tokens']:.2f} per million output tokens"
    assert price in run("simulate", "small.yaml").out


def test_a_prefill_pool_is_not_shown_as_idle() -> None:
    roles = """\
pools:
  - {name: prompts, role: prefill}
  - {name: outputs, role: decode}
"""
    write(Path(), changed("gpus: 1", "gpus: 2") + roles)
    told = run("simulate", "small.yaml")
    assert told.code == 0, told.err
    assert "prompts (prefill): hands on its prompts, 0 requests finished here" in told.out
    assert "outputs (decode): 5 requests finished here" in told.out


def test_equal_pools_are_one_deployment() -> None:
    alike = "pools:\n  - {name: a, deployment: {replicas: 1}}\n  - {name: b}\n"
    write(Path(), changed("gpus: 1", "gpus: 2") + alike)
    pools = run("simulate", "small.yaml", "--json").json
    replicas = changed("gpus: 1", "gpus: 2").replace("64}", "64, replicas: 2}")
    write(Path(), replicas)
    one = run("simulate", "small.yaml", "--json").json
    assert pools["latency_s"] == one["latency_s"]


@pytest.mark.parametrize("verb", ["recommend", "memory", "emulate"])
def test_other_verbs_refuse_pools(verb: str) -> None:
    write(Path(), TWO)
    assert_refused(run(verb, "small.yaml"), 2, "is simulated only")


CHANGES = """\
changes:
  - {kind: autoscaler, signal: utilisation, target: 0.001, most: 3, start_up: 100ms, interval: 50ms}
  - {kind: outage, at: 200ms, down: 100ms}
  - {kind: random_outages, mean_between: 1h, down: 1min}
"""
CHANGING = changed("gpus: 1", "gpus: 4") + CHANGES


def test_changes_are_of_the_only_pool_and_shown() -> None:
    write(Path(), CHANGING)
    told = run("simulate", "small.yaml")
    assert told.code == 0, told.err
    assert "all (both): 5 requests finished here, replicas on average: 2." in told.out
    assert run("simulate", "small.yaml", "--json").json["pools"][0]["mean_replicas"] > 1


def test_a_rollout_states_what_is_new() -> None:
    rollout = "  - {kind: rollout, at: 1s, start_up: 1s, deployment: {max_num_seqs: 8}}\n"
    (new,) = [each for each in fleet(loads(CHANGING + rollout)).changes if hasattr(each, "surge")]
    assert isinstance(new, Rollout)
    assert new.deployment.max_num_seqs == 8


def test_a_change_that_may_exceed_the_budget_is_refused() -> None:
    with pytest.raises(InfeasibleError, match=r"may take 5 GPUs at once \(all 5\)"):
        fleet(loads(CHANGING.replace("most: 3", "most: 5")))


ROLLOUT = "  - {kind: rollout, at: 1s, start_up: 1s, deployment: {max_num_seqs: 8}}\n"


@pytest.mark.parametrize("first", [True, False])
def test_surges_come_on_top_of_what_an_autoscaler_may_have(first: bool) -> None:
    head, _, rest = CHANGING.partition("changes:\n")
    text = f"{head}changes:\n" + (ROLLOUT + rest if first else rest + ROLLOUT)
    assert fleet(loads(text)).changes
    with pytest.raises(InfeasibleError, match="may take 4 GPUs at once"):
        fleet(loads(text.replace("gpus: 4", "gpus: 3")))


def test_a_rollout_to_larger_replicas_takes_more() -> None:
    larger = ROLLOUT.replace("max_num_seqs: 8", "tensor_parallel_size: 2")
    with pytest.raises(InfeasibleError, match="may take 8 GPUs at once"):
        fleet(loads(CHANGING + larger))


def test_what_a_rollout_cannot_change_is_refused() -> None:
    bad = ROLLOUT.replace("max_num_seqs: 8", "replicas: 3")
    assert "`replicas` is of the pool" in faults(CHANGING + bad)["changes[3]"]
    percent = CHANGING.replace("target: 0.001", "target: 60")
    assert "wants a share of 60" in faults(percent)["changes[0]"]


def test_faults_of_changes_name_what_is_known() -> None:
    bad = CHANGING.replace("kind: outage", "kind: outige").replace("most: 3", "mots: 3")
    found = faults(bad.replace("mean_between: 1h", "mean_between: 0s"))
    assert "did you mean `outage`" in found["changes[1]"]
    assert "did you mean `most`" in found["changes[0].mots"]
    assert "fails without end" in found["changes[2]"]


def test_a_change_among_several_pools_names_its_own() -> None:
    with pytest.raises(InputError, match="`outage` changes no pool that is there"):
        fleet(loads(TWO + "changes: [{kind: outage, at: 1s, down: 1s}]\n"))
    with pytest.raises(InputError, match="changes pool `fats`") as told:
        fleet(loads(TWO + "changes: [{kind: outage, pool: fats, at: 1s, down: 1s}]\n"))
    assert "`fast`" in (told.value.hint or "")


def test_python_has_a_verb_for_pools() -> None:
    assert len(simulate_fleet(loads(TWO)).records) == 5
    with pytest.raises(UnsupportedError, match="simulated only"):
        simulate(loads(TWO))
