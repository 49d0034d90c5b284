"""A deployment emulated exactly as it would be started, and what is said of the run."""

from __future__ import annotations

from servecast.emulators import EMULATORS
from servecast.errors import UnsupportedError
from servecast.primitives.calibration import Calibration
from servecast.primitives.coefficients import shipped
from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.step_cost import HostTime
from servecast.primitives.units import format_seconds
from servecast.search.band import Again
from servecast.simulator.policies import transformers_limits
from servecast.simulator.simulate import refuse_unmodelled
from servecast.timewarp.emulate import DEFAULT, Emulation
from servecast.timewarp.installation import INSTALLATIONS, require
from servecast.timewarp.mode import Mode
from servecast.traces.workload import Workload


def host_time(deployment: Deployment, calibration: Calibration | None = None) -> HostTime:
    """The time of the engine's own loop: as calibrated, else the coefficient that ships."""
    if calibration is not None:
        return calibration.host
    if deployment.async_scheduling:
        return HostTime.asynchronous()
    return HostTime(shipped("roofline").step_s(deployment.engine, is_asynchronous=False))


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
    require(deployment.engine, deployment.engine_version)
    host = host or host_time(deployment)
    return EMULATORS[deployment.engine](deployment, workload, source, host, mode)


def rerun(deployment: Deployment, workload: Workload) -> Again | None:
    """What finds the band of an emulated run: None is the simulator, wherever it can."""
    try:
        refuse_unmodelled(deployment)
        if deployment.engine == "transformers":
            transformers_limits(deployment, workload)
    except UnsupportedError:
        return lambda source, host: run(deployment, workload, source, host).result
    return None


def sentence(emulation: Emulation) -> str:
    """Which engine ran, in which mode, what it took here, and how much faster than real it was."""
    title = INSTALLATIONS[emulation.result.deployment.engine].title
    clock = "frozen clock" if emulation.flow is None else f"clock flowing at {emulation.flow:g}"
    mode = f"{clock}, {'stepping' if emulation.stepping else 'skipping'}"
    return (
        f"{title} {emulation.release} ran on a virtual device ({mode}): {emulation.steps:,} steps "
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
    }
