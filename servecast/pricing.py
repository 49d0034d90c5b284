"""What prices the steps of a scenario: its operations one by one, or a recording of whole steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from servecast.calibration_file import calibrated
from servecast.errors import InputError
from servecast.output import Output, literal
from servecast.primitives.corrected_source import default_source
from servecast.primitives.cost import CostSource
from servecast.primitives.deployment import Deployment
from servecast.primitives.host_time import HostTime
from servecast.primitives.roofline import RELATIVE_ERROR
from servecast.scenario import Scenario
from servecast.search.band import Reached, reached
from servecast.simulator.result import Result
from servecast.simulator.simulate import simulate
from servecast.simulator.slo import Slo
from servecast.timewarp.emulate import Emulation
from servecast.timewarp.mode import Mode
from servecast.traces.workload import Workload


class Pricing(Protocol):
    """Runs a deployment at its costs, and says how sure they are."""

    @property
    def error(self) -> float:
        """The relative half-width of the band around a step."""
        ...

    def simulated(self, deployment: Deployment, workload: Workload) -> Result:
        """A run of the simulator; raises as `simulate` does."""
        ...

    def emulated(self, deployment: Deployment, workload: Workload, mode: Mode) -> Emulation:
        """A run of the engine itself; raises as `Emulator` does."""
        ...

    def bands(self, result: Result, workload: Workload, slos: Sequence[Slo]) -> list[Reached]:
        """Each SLO's value in a run, with its band."""
        ...

    def unseen(self, result: Result) -> str | None:
        """What a reader must know of a run beyond what was measured; else None."""
        ...


@dataclass(frozen=True, slots=True)
class ByOperations:
    """Operations by the roofline, corrected as calibrated or else as shipped."""

    source: CostSource
    host: HostTime | None
    """As calibrated; None: what ships for the engine."""

    @property
    def error(self) -> float:
        """The roofline's."""
        return RELATIVE_ERROR

    def simulated(self, deployment: Deployment, workload: Workload) -> Result:
        """A run of the simulator."""
        return simulate(deployment, workload, source=self.source, host=self.host)

    def emulated(self, deployment: Deployment, workload: Workload, mode: Mode) -> Emulation:
        """A run of the engine itself."""
        from servecast.emulation import run

        return run(deployment, workload, self.source, self.host, mode)

    def bands(self, result: Result, workload: Workload, slos: Sequence[Slo]) -> list[Reached]:
        """By running again with all steps faster, and slower."""
        from servecast.emulation import host_time, rerun

        deployment = result.deployment
        host, again = self.host, rerun(deployment, workload)
        if again is not None:
            host = host or host_time(deployment)
        return reached(result, workload, slos, self.source, self.error, host, again)

    def unseen(self, result: Result) -> str | None:
        """None: nothing was measured."""
        return None


def pricing(
    out: Output,
    scenario: Scenario,
    deployment: Deployment,
    *,
    calibration: Path | None,
    costs: Path | None,
) -> Pricing:
    """What the options `--calibration` and `--costs` name, and a note of what that is.

    InputError for a file that is not what it should be or of another scenario, and for both.
    """
    if costs is None:
        fitted = calibrated(out, calibration, scenario)
        return ByOperations(default_source(fitted), fitted.host if fitted else None)
    from servecast.recording import recording

    if calibration is not None:
        raise InputError(
            "recorded steps are not calibrated: they were measured",
            hint="leave --calibration or --costs out",
        )
    found = recording(costs, deployment)
    out.note(f"priced by {literal(found.title)}")
    return found
