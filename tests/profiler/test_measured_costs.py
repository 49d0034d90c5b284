"""Costs of a deployment from the imported database: its tables first, the roofline behind them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from servecast.errors import InputError
from servecast.primitives import catalogue
from servecast.primitives.cost import Provenance
from servecast.primitives.dtype import Dtype
from servecast.primitives.operations import Elementwise, Gemm
from servecast.profiler import aic_package, import_system, measured_costs
from servecast.profiler.measured_costs import MeasuredCosts
from tests.aic_database import Database
from tests.toy_deployments import DENSE

H200 = catalogue.accelerator("h200_sxm")
ON_H200 = replace(DENSE, accelerator=H200)
MEASURED_MS = 0.0125


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    made = Database(tmp_path)
    row = {"gemm_dtype": "bfloat16", "n": 4096, "k": 4096, "kernel_source": "made up"}
    rows = [row | {"m": m, "latency": MEASURED_MS * m} for m in (1, 2, 4)]
    made.add("gemm_perf", rows)
    monkeypatch.setenv("SERVECAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(aic_package, "_installed_root", lambda: made.root)
    return made


@pytest.mark.usefixtures("database")
def test_what_was_measured_is_answered_as_it_was_measured() -> None:
    source = MeasuredCosts()(ON_H200)
    cost = source.cost(Gemm(2.0, 4096, 4096, Dtype.BF16), H200)
    assert cost.provenance is Provenance.MEASURED
    assert float(cost.seconds) == pytest.approx(2 * MEASURED_MS / 1e3)


@pytest.mark.usefixtures("database")
def test_what_was_not_measured_falls_to_the_roofline() -> None:
    cost = MeasuredCosts()(ON_H200).cost(Elementwise(1e6), H200)
    assert cost.provenance is Provenance.ROOFLINE


@pytest.mark.usefixtures("database")
def test_a_device_that_was_not_measured_has_the_roofline_alone() -> None:
    device = catalogue.accelerator("l4")
    source = MeasuredCosts()(replace(DENSE, accelerator=device))
    cost = source.cost(Gemm(2.0, 4096, 4096, Dtype.BF16), device)
    assert cost.provenance is Provenance.ROOFLINE


def test_a_device_is_imported_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []

    def counting(device: str) -> object:
        imported.append(device)
        return import_system(device, root=database.root)

    monkeypatch.setattr(measured_costs, "import_system", counting)
    costs = MeasuredCosts()
    assert costs(ON_H200) is costs(replace(ON_H200, max_num_seqs=1))
    costs(replace(ON_H200, engine_version="0.31"))
    assert imported == ["h200_sxm"]


def test_versions_that_were_not_measured_share_a_source(database: Database) -> None:
    row = {"gemm_dtype": "bfloat16", "n": 4096, "k": 4096, "kernel_source": "made up"}
    database.add("gemm_perf", [row | {"m": 1, "latency": 1.0, "n": 8192}], version="0.19.0")
    costs = MeasuredCosts()
    unknown = [costs(replace(ON_H200, engine_version=version)) for version in ("0.30", "0.31")]
    known = [costs(replace(ON_H200, engine_version=version)) for version in ("0.24.0", "0.19.0")]
    assert unknown[0] is unknown[1]
    assert len({id(source) for source in (unknown[0], *known)}) == 3


def test_the_missing_database_names_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aic_package, "DISTRIBUTION", "no-such-distribution")
    with pytest.raises(InputError) as refused:
        MeasuredCosts()
    assert "servecast[aic]" in (refused.value.hint or "")
