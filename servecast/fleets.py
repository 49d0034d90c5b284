"""A scenario's pools as the fleet that the simulator takes."""

from __future__ import annotations

from collections.abc import Sequence

from servecast.changes import AnyChange, AutoscalerSection, RolloutSection
from servecast.domain import deployment
from servecast.errors import InfeasibleError, InputError, UnsupportedError, nearest
from servecast.pools import PoolSection
from servecast.primitives.deployment import Deployment
from servecast.scenario import Scenario
from servecast.simulator.fleet.change import Change
from servecast.simulator.fleet.fleet import Fleet, Pool

_SHARED = {"pools", "changes", "transfer"}
"""Sections of all pools together."""


def pool_values(scenario: Scenario, pool: PoolSection) -> dict[str, object]:
    """The fields of the scenario that describes one pool: the common one, with its changes.

    A pool of another kind of GPU does not inherit a price, nor one of another engine its options.
    """
    stated = scenario.model_dump(mode="json", exclude_unset=True, exclude=_SHARED)
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
    """The pools of a scenario and what changes them; without any, all replicas are one pool.

    InputError where something is left open or the pools do not go together; InfeasibleError beyond
    the budget of GPUs.
    """
    pools = tuple(_pool(scenario, pool) for pool in _pools(scenario))
    options = scenario.deployment
    changes = tuple(_change(scenario, change) for change in scenario.changes)
    _require_budget(scenario, pools)
    if options.gateway is not None:
        raise UnsupportedError(
            "a gateway before a fleet of pools or changes is not simulated yet",
            hint="leave `gateway` out, or the pools and changes",
        )
    return Fleet(
        pools,
        options.routing[0],
        pools[0].deployment.routing_options,
        changes=changes,
        transfer=None if scenario.transfer is None else scenario.transfer.value(),
    )


def _require_budget(scenario: Scenario, pools: Sequence[Pool]) -> None:
    """InfeasibleError where the pools may take more GPUs at once than there are."""
    gpus = {pool.name: _most_gpus(scenario, pool) for pool in pools}
    taken, budget = sum(gpus.values()), scenario.hardware.gpus
    if taken > budget:
        each = ", ".join(f"{name} {count}" for name, count in gpus.items())
        raise InfeasibleError(
            f"the pools may take {taken} GPUs at once ({each}), and the budget is {budget}",
            hint=f"raise hardware.gpus to {taken}, or take fewer",
        )


def _most_gpus(scenario: Scenario, pool: Pool) -> int:
    """What a pool may take at once: all that its autoscalers may have, and surges beside them."""
    own = [c for c in scenario.changes if _changed_pool(scenario, c).name == pool.name]
    scaled = [change.most for change in own if isinstance(change, AutoscalerSection)]
    rollouts = [change for change in own if isinstance(change, RolloutSection)]
    deployments = [pool.deployment, *(_rolled_out(scenario, change) for change in rollouts)]
    replicas = max([pool.deployment.replicas, *scaled])
    surge = max((change.surge for change in rollouts), default=0)
    return (replicas + surge) * max(each.gpus_per_replica for each in deployments)


def _pools(scenario: Scenario) -> tuple[PoolSection, ...]:
    return scenario.pools or (PoolSection(name="all"),)


def _pool(scenario: Scenario, pool: PoolSection) -> Pool:
    _require_shared_router(pool)
    own = pool_scenario(scenario, pool)
    if own.deployment.replicas == "auto":
        raise InputError(
            f"pool `{pool.name}` leaves its number of replicas open",
            hint="state `replicas` under its `deployment`",
        )
    return Pool(pool.name, deployment(own), pool.role, pool.classes)


def _require_shared_router(pool: PoolSection) -> None:
    """InputError for what a pool cannot have to itself: it would be ignored."""
    for name in ("gateway", "routing", "routing_options"):
        if name in (pool.deployment or {}):
            raise InputError(
                f"pool `{pool.name}` states `{name}`, and shares its router with others",
                hint=f"state `{name}` under the scenario's `deployment`",
            )


def _change(scenario: Scenario, change: AnyChange) -> Change:
    pool = _changed_pool(scenario, change)
    if not isinstance(change, RolloutSection):
        return change.value(pool.name)
    return change.value(pool.name, _rolled_out(scenario, change))


def _rolled_out(scenario: Scenario, change: RolloutSection) -> Deployment:
    """What a rollout makes of its pool's deployment, whatever other rollouts do."""
    pool = _changed_pool(scenario, change)
    changed = {**(pool.deployment or {}), **change.deployment}
    return _pool(scenario, pool.model_copy(update={"deployment": changed})).deployment


def _changed_pool(scenario: Scenario, change: AnyChange) -> PoolSection:
    pools = {pool.name: pool for pool in _pools(scenario)}
    if change.pool is None and len(pools) == 1:
        return next(iter(pools.values()))
    if change.pool not in pools:
        near = nearest(change.pool or "", pools)
        raise InputError(
            f"`{change.kind}` changes no pool that is there"
            if change.pool is None
            else f"`{change.kind}` changes pool `{change.pool}`, which is not there",
            hint=f"did you mean `{near}`?" if near else f"state `pool`: {', '.join(pools)}",
        )
    return pools[change.pool]
