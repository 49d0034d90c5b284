"""The calibration file: what `servecast calibrate` writes and other verbs read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from servecast.errors import InputError
from servecast.output import Output, counted, literal
from servecast.primitives import catalogue
from servecast.primitives.calibration import Calibration
from servecast.primitives.deployment import Deployment
from servecast.scenario import Scenario

Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_HINT = "`servecast calibrate` writes one"


class CalibrationFile(BaseModel):
    """Coefficients, and what they were fitted on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    gpu: str
    engine: str
    engine_version: str
    runs: Annotated[int, Field(ge=1)]
    bandwidth_factor: Factor
    compute_factor: Factor
    host_step_s: Seconds
    host_sequence_s: Seconds

    @property
    def calibration(self) -> Calibration:
        """The coefficients alone."""
        return Calibration(
            self.bandwidth_factor, self.compute_factor, self.host_step_s, self.host_sequence_s
        )


def calibration_text(calibration: Calibration, deployment: Deployment, runs: int) -> str:
    """The file's text."""
    fitted_on = {
        "model": deployment.model.name,
        "gpu": deployment.accelerator.name,
        "engine": deployment.engine,
        "engine_version": deployment.engine_version,
        "runs": runs,
    }
    rounded = {name: float(f"{value:.6g}") for name, value in asdict(calibration).items()}
    return yaml.safe_dump({**fitted_on, **rounded}, sort_keys=False)


def read_calibration(path: Path) -> CalibrationFile:
    """A calibration file. InputError where it is none, with the field that is wrong."""
    try:
        return CalibrationFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"`{path}` cannot be read: {error.strerror}", hint=_HINT) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise InputError(f"`{path}`: {place}: {first['msg'].lower()}", hint=_HINT) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"`{path}` is no YAML text", hint=_HINT) from error


def calibrated(out: Output, path: Path | None, scenario: Scenario) -> Calibration | None:
    """The calibration of a file for a scenario, and a note of what it was fitted on.

    InputError where the scenario has another GPU or engine: coefficients of one say nothing of
    another; and where it leaves open how much of the host's time is hidden. Reference policies have
    vLLM's host time.
    """
    if path is None:
        return None
    file = read_calibration(path)
    others = {catalogue.accelerator(name).name for name in scenario.hardware.gpu} - {file.gpu}
    if others:
        raise InputError(
            f"`{path}` was fitted on {file.gpu}, and the scenario has {', '.join(sorted(others))}",
            hint="calibrate on that GPU, or leave --calibration out",
        )
    engine = scenario.engine.name
    if file.engine != ("vllm" if engine == "reference" else engine):
        raise InputError(
            f"`{path}` was fitted on {file.engine}, and the scenario has {engine}",
            hint=f"leave --calibration out, or set engine.name to `{file.engine}`",
        )
    overlap = sorted({"async_scheduling", "disable_overlap_schedule"} & set(scenario.space().open))
    if overlap:
        raise InputError(
            f"{overlap[0]} is open, and a calibration holds the host time of one of the two",
            hint=f"fix {overlap[0]} to what the calibrated server had, or leave --calibration out",
        )
    fitted_on = f"{file.model} on {file.gpu}, {file.engine} {file.engine_version}"
    out.note(f"calibrated by {counted(file.runs, 'run')} of {literal(fitted_on)}")
    return file.calibration
