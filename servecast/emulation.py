"""A deployment emulated exactly as it would be started, and what is said of the run."""

from __future__ import annotations

from dataclasses import replace

from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.memory import ledger
from servecast.primitives.pipeline import stage_costs
from servecast.primitives.step_cost import HostTime
from servecast.primitives.units import format_seconds
from servecast.search.band import Again
from servecast.search.vllm_arguments import arguments, words
from servecast.simulator.simulate import refuse_unmodelled, scheduler_limits
from servecast.timewarp.emulate import DEFAULT, Emulation, emulate
from servecast.timewarp.installation import INSTALLATIONS
from servecast.timewarp.mode import Mode
from servecast.traces.workload import Workload


def run(
    deployment: Deployment,
    workload: Workload,
    source: CostSource,
    host: HostTime | None = None,
    mode: Mode = DEFAULT,
) -> Emulation:
    """Run the engine with the very options that would be emitted for this deployment.

    Raises what `timewarp.emulate` does, and InfeasibleError where the model does not fit.
    """
    refuse_unmodelled(replace(deployment, pipeline_parallel_size=1))
    memory = ledger(deployment)
    memory.require_fit()
    limits = scheduler_limits(deployment, memory, workload)
    options = words(arguments(deployment, limits.num_blocks + 1))  # vLLM keeps one for itself
    cost, *later_stages = stage_costs(deployment, source, host)
    return emulate(deployment, workload, options, cost, mode, later_stages=later_stages)


def rerun(deployment: Deployment, workload: Workload) -> Again | None:
    """What finds the band of an emulated run: None is the simulator, wherever it can."""
    if deployment.pipeline_parallel_size == 1:
        return None
    return lambda source, host: run(deployment, workload, source, host).result


def sentence(emulation: Emulation) -> str:
    """Which engine ran, in which mode, what it took here, and how much faster than real it was."""
    title = INSTALLATIONS[emulation.result.deployment.engine].title
    clock = "frozen clock" if emulation.flow is None else f"clock flowing at {emulation.flow:g}"
    mode = f"{clock}, {'stepping' if emulation.stepping else 'skipping'}"
    return (
        f"{title} {emulation.release} ran on a virtual device ({mode}): {emulation.steps:,} steps "
        f"in {format_seconds(emulation.cpu_s)} of CPU time, {emulation.speedup:,.0f} × faster than "
        f"real, after {format_seconds(emulation.startup_cpu_s)} to start"
    )


def facts(emulation: Emulation) -> dict[str, object]:
    """The same as JSON values."""
    return {
        "engine": emulation.result.deployment.engine,
        "release": emulation.release,
        "clock": "frozen" if emulation.flow is None else "flowing",
        "flow": emulation.flow,
        "stepping": emulation.stepping,
        "steps": emulation.steps,
        "cpu_s": emulation.cpu_s,
        "startup_cpu_s": emulation.startup_cpu_s,
        "times_faster_than_real": emulation.speedup,
    }
