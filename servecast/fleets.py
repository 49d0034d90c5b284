"""A scenario's pools as the fleet that the simulator takes."""

from __future__ import annotations

from servecast.domain import deployment
from servecast.errors import InfeasibleError, InputError
from servecast.pools import PoolSection
from servecast.scenario import Scenario
from servecast.simulator.fleet.fleet import Fleet, Pool


def pool_values(scenario: Scenario, pool: PoolSection) -> dict[str, object]:
    """The fields of the scenario that describes one pool: the common one, with its changes.

    A pool of another kind of GPU does not inherit a price, nor one of another engine its options.
    """
    stated = scenario.model_dump(mode="json", exclude_unset=True, exclude={"pools"})
    stated |= {"slo": [], "objective": "gpu_hours"}  # those are of all pools together
    for section in ("hardware", "engine", "deployment"):
        stated[section] = {**(stated.get(section) or {}), **(getattr(pool, section) or {})}
    if "gpu" in (pool.hardware or {}) and "usd_per_gpu_hour" not in (pool.hardware or {}):
        stated["hardware"].pop("usd_per_gpu_hour", None)
    if (pool.engine or {}).get("name", scenario.engine.name) != scenario.engine.name:
        stated["deployment"] = pool.deployment or {}
        if "version" not in (pool.engine or {}):
            stated["engine"].pop("version", None)
    if pool.model is not None:
        stated["model"] = pool.model
    return stated


def pool_scenario(scenario: Scenario, pool: PoolSection) -> Scenario:
    """The scenario of one pool alone."""
    return Scenario.model_validate(pool_values(scenario, pool))


def fleet(scenario: Scenario) -> Fleet:
    """The pools of a scenario.

    InputError where something is left open or the pools do not go together; InfeasibleError beyond
    the budget of GPUs.
    """
    pools = tuple(_pool(scenario, pool) for pool in scenario.pools)
    found = Fleet(pools, scenario.deployment.routing[0])
    budget = scenario.hardware.gpus
    if found.gpus > budget:
        each = ", ".join(f"{pool.name} {pool.deployment.gpus}" for pool in pools)
        raise InfeasibleError(
            f"the pools take {found.gpus} GPUs ({each}), and the budget is {budget}",
            hint=f"raise hardware.gpus to {found.gpus}, or take fewer",
        )
    return found


def _pool(scenario: Scenario, pool: PoolSection) -> Pool:
    own = pool_scenario(scenario, pool)
    if own.deployment.replicas == "auto":
        raise InputError(
            f"pool `{pool.name}` leaves its number of replicas open",
            hint="state `replicas` under the pool's `deployment`",
        )
    return Pool(pool.name, deployment(own), pool.role)
