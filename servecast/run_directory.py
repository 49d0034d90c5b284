"""The folder of one run: what was asked, what was tried, and the files that start the best."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from servecast import __version__
from servecast.errors import InputError, UnsupportedError
from servecast.reasons import why
from servecast.scenario import Scenario
from servecast.search.answers import Answer
from servecast.search.emit import emit
from servecast.search.recommend import Recommendation
from servecast.tables import deployment_json
from servecast.whole_files import explained, packed_text
from servecast.writing import require_writable, write_csv, write_records

DEPLOYMENTS = 3
"""How many of the ranked deployments get files."""

MANIFEST = "manifest.json"
"""The file by which an earlier run is known: nothing else is ever replaced."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, and why the files that start the best are not among it, if so."""

    folder: Path
    refusal: str | None

    @property
    def start_command(self) -> Path:
        """The script that starts the best deployment."""
        return self.folder / "deploy" / "1" / "serve.sh"

    @property
    def verify_command(self) -> Path:
        """The script that would verify its forecast."""
        return self.folder / "deploy" / "1" / "verify.sh"


def require_place(folder: Path) -> None:
    """InputError where a run could not be written to `folder`, asked before the long search.

    A folder of that name that is no earlier run is the user's own and is left alone.
    """
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise InputError(
            f"{folder} exists and is not a run of servecast: it is not replaced",
            hint="name another folder with --runs, or give the scenario another name",
        )
    require_writable(folder.parent)


def write_run(folder: Path, scenario: Scenario, answer: Recommendation) -> Written:
    """Write the run's folder in one piece, in place of an earlier one of that name.

    Without a deployment that meets the SLOs there is no `deploy/`: nothing that misses them is
    handed out ready to start. Neither is there where its files are not known (a GPU that the
    emitters do not write for); the reason comes back.
    """
    require_place(folder)
    with explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            made = Path(scratch) / "run"
            made.mkdir()
            refusal = _write_all(made, scenario, answer)
            if folder.exists():
                folder.rename(Path(scratch) / "earlier")
            made.rename(folder)
    return Written(folder, refusal)


def _write_all(made: Path, scenario: Scenario, answer: Recommendation) -> str | None:
    """Fill a new folder; why the best deployment has no files in it, or None where it has."""
    config = scenario.dump()
    (made / "config.yaml").write_text(config, encoding="utf-8")
    _write_manifest(made / MANIFEST, scenario, config, answer)
    _write_trials(made / "trials.csv", answer)
    if answer.shown.result is not None:
        write_records(made / "requests.csv.gz", answer.shown.result)
    refused: dict[int, str] = {}
    for rank, best in enumerate(answer.ranked[:DEPLOYMENTS], start=1):
        try:
            _write_deployment(made / "deploy" / str(rank), rank, best, answer)
        except UnsupportedError as error:
            refused[rank] = error.message
    return refused.get(1)


def _write_manifest(path: Path, scenario: Scenario, config: str, answer: Recommendation) -> None:
    workload, calibration = answer.question.workload, answer.question.calibration
    digest = hashlib.sha256()
    for column in (workload.arrival_ns, workload.prompt_tokens, workload.output_tokens):
        digest.update(column.tobytes())
    manifest = {
        "servecast": __version__,
        "seed": scenario.seed,
        "config_sha256": hashlib.sha256(config.encode()).hexdigest(),
        "workload_sha256": digest.hexdigest(),
        "requests": len(workload),
        "attribution": workload.attribution,
        "cost_source": "roofline",
        "calibration": asdict(calibration) if calibration else None,
    }
    path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _write_trials(path: Path, answer: Recommendation) -> None:
    import pandas

    rows = [_trial(trial, answer) for trial in answer.answers]
    with packed_text(path) as text:
        write_csv(pandas.DataFrame(rows), text)


def _trial(trial: Answer, answer: Recommendation) -> dict[str, object]:
    objectives = zip(answer.question.objectives, trial.values, strict=True)
    slos = zip(answer.question.slos, trial.violations, strict=True)
    return {
        **deployment_json(trial.deployment),
        "rung": trial.rung,
        "feasible": trial.is_feasible,
        **{str(objective): value for objective, value in objectives},
        **{f"missed by: {slo}": share for slo, share in slos},
        "reason": trial.reason,
    }


def _write_deployment(folder: Path, rank: int, best: Answer, answer: Recommendation) -> None:
    emit(
        best.deployment,
        best.candidate.memory.num_gpu_blocks,
        answer.question.workload,
        folder,
        why="\n".join(f"- {line}" for line in why(best, rank, answer)),
        slos=answer.question.slos,
    )
