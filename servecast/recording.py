"""The recorded steps of a real server, as what prices the steps of a scenario."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from servecast.emulation import emulate_at, is_simulated
from servecast.errors import InputError, UnsupportedError
from servecast.output import counted
from servecast.primitives import catalogue
from servecast.primitives.cost_file import read_costs
from servecast.primitives.cost_table import CostTable, TableKey
from servecast.primitives.deployment import Deployment
from servecast.primitives.dtype import Dtype
from servecast.search.band import Reached, banded
from servecast.simulator.result import Result
from servecast.simulator.simulate import simulate
from servecast.simulator.slo import Slo
from servecast.timewarp.emulate import Emulation
from servecast.timewarp.mode import Mode
from servecast.timewarp.recorded_step_cost import RecordedStepCost
from servecast.timewarp.recorded_steps import recorded_tables
from servecast.timewarp.recorded_work import OPERATION, StepWork
from servecast.timewarp.recorder_keys import model_trait
from servecast.traces.workload import Workload

_HINT = "`SERVECAST_RECORD=steps.csv vllm serve …` records one"
_UNQUANTIZED = frozenset({Dtype.FP32, Dtype.BF16, Dtype.FP16})


@dataclass(frozen=True, slots=True)
class Recording:
    """The steps that one server took."""

    device: CostTable
    host: CostTable

    def cost(self, factor: float = 1.0) -> RecordedStepCost:
        """What a step costs, times a factor."""
        return RecordedStepCost(self.device, self.host, factor)

    @property
    def error(self) -> float:
        """The relative half-width of the band around it: how far recorded steps are from the fit
        that prices those between them."""
        return self.cost().relative_error

    def simulated(self, deployment: Deployment, workload: Workload) -> Result:
        """A run of the simulator at recorded costs."""
        return simulate(deployment, workload, cost=self.cost())

    def emulated(self, deployment: Deployment, workload: Workload, mode: Mode) -> Emulation:
        """A run of vLLM's own control loop at recorded costs."""
        return emulate_at(deployment, workload, self.cost(), mode)

    def bands(self, result: Result, workload: Workload, slos: Sequence[Slo]) -> list[Reached]:
        """Each SLO's value with its band, by running again with all steps faster, and slower."""
        deployment, error = result.deployment, self.error
        fast, slow = (
            simulate(deployment, workload, cost=self.cost(factor))
            if is_simulated(deployment, workload)
            else emulate_at(deployment, workload, self.cost(factor)).result
            for factor in (1 - error, 1 + error)
        )
        return banded(result, slos, fast, slow)

    @property
    def title(self) -> str:
        """What was recorded, of which server."""
        return f"{len(self.device):,} different steps of {_server(self.device.key)}"

    @property
    def verifies_drafts(self) -> bool:
        """Whether requests compute more than a token of their output in some steps."""
        works = (StepWork(*point) for point in self.device.points.tolist())
        return any(work.queries > work.sequences for work in works)

    def unseen(self, result: Result) -> str | None:
        """What a reader must know of a run with larger batches than were recorded; else None."""
        recorded = max(StepWork(*point).sequences for point in self.device.points.tolist())
        taken = max(int(log.column("sequences").max(initial=0)) for log in result.logs)
        if taken <= recorded:
            return None
        return (
            f"beyond the recording: up to {taken} requests decode in a step, and no step of more "
            f"than {recorded} was recorded"
        )


def recording(path: Path, deployment: Deployment) -> Recording:
    """The recording in a cost file, where it is of this deployment's model and engine.

    InputError for a file that is none, for that of another server, and for those of several.
    """
    several = {
        "engine": deployment.engine != "vllm",
        "pipeline_parallel_size": deployment.pipeline_parallel_size > 1,
        "data_parallel_size": deployment.data_parallel_size > 1,
    }
    odd = next((option for option, is_odd in several.items() if is_odd), None)
    if odd is not None:
        raise UnsupportedError(
            "recorded steps are those of vLLM on one pipeline stage and one data-parallel rank, "
            f"and the scenario's {odd} is {getattr(deployment, odd)}",
            hint="leave --costs out",
        )
    try:
        tables = read_costs(path)
    except InputError as error:
        raise InputError(error.message, hint=_HINT) from error
    recorded = [table for table in tables if table.key.operation == OPERATION]
    if not recorded:
        raise InputError(f"`{path}` is no recording: it holds no steps of an engine", hint=_HINT)
    found = Recording(*recorded_tables(_matching(path, recorded, deployment)))
    _require_drafts_alike(path, found, deployment)
    return found


def _matching(path: Path, recorded: Sequence[CostTable], deployment: Deployment) -> list[CostTable]:
    """The steps of servers that are like the deployment; InputError where there are none."""
    odd = {table.key: _differences(table.key, deployment) for table in recorded}
    found = [table for table in recorded if not odd[table.key]]
    if not found:
        first = recorded[0].key
        raise InputError(
            f"`{path}` was recorded of {_server(first)}, and the scenario has "
            f"{', '.join(odd[first])}",
            hint="record the server that the scenario describes, or leave --costs out",
        )
    return found


def _require_drafts_alike(path: Path, found: Recording, deployment: Deployment) -> None:
    """InputError where drafts are verified in the recording or in the scenario, and not in both."""
    if found.verifies_drafts == (deployment.num_drafts > 0):
        return
    recorded = "with" if found.verifies_drafts else "without"
    asked = counted(deployment.num_drafts, "draft") if deployment.num_drafts else "no drafts"
    raise InputError(
        f"`{path}` was recorded {recorded} drafts, and the scenario has {asked}",
        hint="record the server that the scenario describes, or leave --costs out",
    )


def _differences(key: TableKey, deployment: Deployment) -> list[str]:
    """What the scenario has in place of what was recorded, in words."""
    d, traits = deployment, key.traits
    ranks = str(d.gpus_per_replica)
    known = {accelerator.name for accelerator in catalogue.accelerators()}
    differences: list[str] = []
    if _model(traits.get("model", "")) != _model(model_trait(d.model.name)):
        differences.append(d.model.name)
    if key.device in known and key.device != d.accelerator.name:
        differences.append(d.accelerator.name)
    if traits.get("ranks", ranks) != ranks:
        differences.append(counted(d.gpus_per_replica, "rank"))
    if not _is_like(key.dtype, d.weights_dtype):
        differences.append(f"{d.weights_dtype} weights")
    return differences


def _model(name: str) -> str:
    """A model's name as the catalogue has it, for all its aliases; else as it is."""
    with suppress(InputError):
        return catalogue.model(name).name
    return name


def _is_like(recorded: str, weights: Dtype) -> bool:
    """Whether weights are as wide as recorded ones; yes for what a checkpoint calls otherwise."""
    with suppress(ValueError):
        dtype = Dtype(recorded)
        return dtype == weights or {dtype, weights} <= _UNQUANTIZED
    return True


def _server(key: TableKey) -> str:
    traits = key.traits
    ranks = counted(int(traits.get("ranks", "1")), "rank")
    model = traits.get("model", "a model")
    return f"{model} ({key.dtype}, {ranks}) on {key.device}, vLLM {key.version}"
