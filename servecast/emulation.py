"""A deployment emulated exactly as it would be started, and what is said of the run."""

from __future__ import annotations

from statistics import fmean

from servecast.emulators import EMULATORS, started_vllm
from servecast.errors import UnsupportedError
from servecast.primitives.calibration import Calibration
from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.host_time import HostTime
from servecast.primitives.step_cost import StepCost
from servecast.primitives.units import format_seconds
from servecast.search.band import Again
from servecast.simulator.policies import transformers_limits
from servecast.simulator.unmodelled import refuse_unmodelled
from servecast.timewarp.emulate import DEFAULT, Emulation
from servecast.timewarp.http_emulate import ServerEmulation
from servecast.timewarp.installation import INSTALLATIONS, require
from servecast.timewarp.mode import Front, Mode
from servecast.traces.workload import Workload


def host_time(deployment: Deployment, calibration: Calibration | None = None) -> HostTime:
    """The time of the engine's own loop: as calibrated, else the coefficient that ships."""
    return HostTime.of(deployment) if calibration is None else calibration.host


def require_engine(engine: str, version: str | None, mode: Mode) -> None:
    """UnsupportedError where an engine is not installed, or has no server that is emulated."""
    if engine != "vllm" and mode.front is not Front.NONE:
        raise UnsupportedError(
            f"the server of engine `{engine}` is not emulated\n  known: vllm",
            hint="leave --server out, or set engine.name to `vllm`",
        )
    require(engine, version)


def run(
    deployment: Deployment,
    workload: Workload,
    source: CostSource,
    host: HostTime | None = None,
    mode: Mode = DEFAULT,
) -> Emulation:
    """Run the deployment's engine, `host` being by default its own; raises as `Emulator` does.

    UnsupportedError, with the commands that mend it, where its release is not installed.
    """
    require_engine(deployment.engine, deployment.engine_version, mode)
    host = host or host_time(deployment)
    return EMULATORS[deployment.engine](deployment, workload, source, host, mode)


def emulate_at(
    deployment: Deployment, workload: Workload, cost: StepCost, mode: Mode = DEFAULT
) -> Emulation:
    """Run vLLM at the cost of whole steps; raises as `run` does."""
    require_engine(deployment.engine, deployment.engine_version, mode)
    return started_vllm(deployment, workload, lambda: [cost], mode)


def is_simulated(deployment: Deployment, workload: Workload) -> bool:
    """Whether the simulator can run it too."""
    try:
        refuse_unmodelled(deployment)
        if deployment.engine == "transformers":
            transformers_limits(deployment, workload)
    except UnsupportedError:
        return False
    return True


def rerun(deployment: Deployment, workload: Workload) -> Again | None:
    """What finds the band of an emulated run: None is the simulator, wherever it can."""
    if is_simulated(deployment, workload):
        return None
    return lambda source, host: run(deployment, workload, source, host).result


def sentence(emulation: Emulation) -> str:
    """What ran, in which mode, what it took here, and how much faster than real it was."""
    title = f"{INSTALLATIONS[emulation.result.deployment.engine].title} {emulation.release}"
    if isinstance(emulation, ServerEmulation):
        apart = ", each in a process of its own," if emulation.processes > 1 else ""
        title = f"{title}'s API server and benchmark client{apart}"
    clock = "frozen clock" if emulation.flow is None else f"clock flowing at {emulation.flow:g}"
    mode = f"{clock}, {'stepping' if emulation.stepping else 'skipping'}"
    return (
        f"{title} ran on a virtual device ({mode}): {emulation.steps:,} steps "
        f"in {format_seconds(emulation.cpu_s)} of CPU time, {emulation.speedup:,.0f} × faster than "
        f"real, after {format_seconds(emulation.startup_cpu_s)} to start"
        + (f"; {emulation.cache}" if emulation.cache else "")
    )


def facts(emulation: Emulation) -> dict[str, object]:
    """The same as JSON values."""
    return {
        "engine": emulation.result.deployment.engine,
        "release": emulation.release,
        "clock": "frozen" if emulation.flow is None else "flowing",
        "flow": emulation.flow,
        "stepping": emulation.stepping,
        "cache": emulation.cache,
        "steps": emulation.steps,
        "cpu_s": emulation.cpu_s,
        "startup_cpu_s": emulation.startup_cpu_s,
        "times_faster_than_real": emulation.speedup,
        "server": _server_facts(emulation) if isinstance(emulation, ServerEmulation) else None,
    }


def _server_facts(emulation: ServerEmulation) -> dict[str, object]:
    """In how many processes server and client ran, and what the client measured."""
    report = emulation.report
    return {
        "processes": emulation.processes,
        "client_duration_s": report.duration_s,
        "client_ttft_mean_s": fmean(report.ttft_s),
        "client_e2e_mean_s": fmean(report.latency_s),
    }
