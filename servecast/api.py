"""The verbs for Python: `from servecast import load, simulate, emulate, recommend`."""

from __future__ import annotations

from servecast.choices import Choice
from servecast.domain import deployment, workload
from servecast.emulation import run
from servecast.fleets import fleet
from servecast.primitives.corrected_source import default_source
from servecast.question import question
from servecast.scenario import Scenario
from servecast.search import recommend as search
from servecast.search.recommend import Recommendation
from servecast.simulator import simulate as simulator
from servecast.simulator.fleet import simulate_fleet as fleet_simulator
from servecast.simulator.fleet.fleet_result import FleetResult
from servecast.simulator.result import Result
from servecast.timewarp.emulate import DEFAULT, Emulation
from servecast.timewarp.mode import Mode


def simulate(scenario: Scenario, choice: Choice | None = None) -> Result:
    """The run of a fixed scenario; `choice` fixes what it leaves open. Writes nothing."""
    return simulator.simulate(deployment(scenario, choice or {}), workload(scenario))


def simulate_fleet(scenario: Scenario) -> FleetResult:
    """The run of a fixed scenario with pools. Writes nothing."""
    return fleet_simulator.simulate_fleet(fleet(scenario), workload(scenario))


def emulate(scenario: Scenario, choice: Choice | None = None, mode: Mode = DEFAULT) -> Emulation:
    """A fixed scenario by its real engine, which has to be installed. Writes nothing."""
    return run(deployment(scenario, choice or {}), workload(scenario), default_source(), mode=mode)


def recommend(
    scenario: Scenario, *, trials: int = 64, current: str | None = None
) -> Recommendation:
    """The ranked answer for a scenario; `current` is a start command to compare with."""
    return search.recommend(question(scenario, trials=trials, current=current))
