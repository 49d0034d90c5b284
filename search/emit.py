"""The files that start a deployment as it was simulated, and the command that would verify it."""

from __future__ import annotations

import json
import os
import re
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from servecast.errors import InputError
from servecast.primitives.deployment import Deployment
from servecast.search.launch import launch
from servecast.search.proxy import balancing
from servecast.search.replay import (
    REQUESTS_FILE,
    RESULT_FILE,
    Clause,
    bench_arguments,
    write_requests,
)
from servecast.simulator.slo import Slo
from servecast.traces.workload import Workload

_FILES = ("serve.sh", "nginx.conf", "compose.yaml", "k8s.yaml", "verify.sh", "why.md")
_PORT = 8000


@dataclass(frozen=True, slots=True)
class Replica:
    """One engine of the deployment, as a host runs it."""

    name: str
    port: int
    gpus: tuple[int, ...]


def emit(
    deployment: Deployment,
    num_gpu_blocks: int,
    workload: Workload,
    folder: Path,
    *,
    why: str,
    model: str | None = None,
    slos: Sequence[Slo] = (),
) -> list[Path]:
    """Write serve.sh, compose.yaml, k8s.yaml, verify.sh, requests.jsonl and why.md; their paths.

    With several replicas nginx.conf is there too. `num_gpu_blocks` is the engine's total, one more
    than the blocks that requests can use with vLLM; `model` is what the engine loads where it is
    not the model's name; `slos` become the benchmark's goodput; `why` is Markdown. Files appear
    whole or not at all, and those of an earlier deployment in `folder` are replaced. InputError
    and UnsupportedError as `launch` and `balancing` raise them, before anything is written;
    InputError for an empty workload.
    """
    if not len(workload):
        raise InputError(
            f"workload `{workload.name}` has no requests to verify with",
            hint="look at it with `servecast trace stats`",
        )
    loaded = model or deployment.model.name
    bench = bench_arguments(workload, loaded, slos)
    texts = _render(deployment, num_gpu_blocks, workload, loaded, why, bench)
    return _write(texts, workload, deployment, folder)


def replicas(deployment: Deployment) -> list[Replica]:
    """The engines on one host, on consecutive ports and GPUs.

    A single engine listens on the port that clients use, several ones on those after it.
    """
    each = deployment.gpus_per_replica
    first_port = _PORT if deployment.replicas == 1 else _PORT + 1
    return [
        Replica(f"replica-{i}", first_port + i, tuple(range(i * each, (i + 1) * each)))
        for i in range(deployment.replicas)
    ]


def _render(
    deployment: Deployment,
    num_gpu_blocks: int,
    workload: Workload,
    model: str,
    why: str,
    bench: list[Clause],
) -> dict[str, str]:
    """Text by file name."""
    environment = _environment()
    engines = replicas(deployment)
    proxied = {"routing": deployment.routing, "balancing": balancing(deployment)}
    context: dict[str, object] = {
        "d": deployment,
        "workload": workload,
        "model": model,
        "slug": _slug(model),
        "why": why.strip(),
        "engine": launch(deployment, num_gpu_blocks, model, _PORT),
        "bench": bench,
        "result_file": RESULT_FILE,
        "engines": engines,
        "port": _PORT,
        "router_conf": environment.get_template("nginx.conf.j2").render(
            port=_PORT, servers=[f"{e.name}:{_PORT}" for e in engines], **proxied
        ),
        **proxied,
        "servers": [f"127.0.0.1:{engine.port}" for engine in engines],
    }
    wanted = [name for name in _FILES if name != "nginx.conf" or deployment.replicas > 1]
    return {name: environment.get_template(f"{name}.j2").render(context) for name in wanted}


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("servecast.search"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["sh"] = shlex.quote
    environment.filters["words"] = shlex.join
    environment.filters["yaml"] = json.dumps
    return environment


def _slug(model: str) -> str:
    """A name that Kubernetes accepts: at most 52 of a-z, 0-9 and hyphens."""
    plain = re.sub(r"[^a-z0-9]+", "-", model.rsplit("/", maxsplit=1)[-1].lower())
    return plain[:52].strip("-") or "model"


def _write(
    texts: dict[str, str], workload: Workload, deployment: Deployment, folder: Path
) -> list[Path]:
    """Write all files beside the folder, then put them in place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        made = Path(scratch) / "files"
        made.mkdir()
        for name, text in texts.items():
            (made / name).write_text(text, encoding="utf-8")
            if name.endswith(".sh"):
                (made / name).chmod((made / name).stat().st_mode | 0o111)
        write_requests(workload, deployment, made / REQUESTS_FILE)
        return _move(made, folder)


def _move(made: Path, folder: Path) -> list[Path]:
    """Rename the finished files into place; the paths in the order of reading."""
    names = [name for name in (*_FILES, REQUESTS_FILE) if (made / name).exists()]
    if folder.exists():
        for name in names:
            os.replace(made / name, folder / name)
        for name in set(_FILES).difference(names):
            (folder / name).unlink(missing_ok=True)
    else:
        made.rename(folder)
    return [folder / name for name in names]
