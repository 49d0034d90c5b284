"""ServeGen's pools, in an excerpt made up here, and as published."""

from __future__ import annotations

from math import isclose
from pathlib import Path

import numpy as np
import pytest

from servecast.errors import InputError
from servecast.traces.arrivals import Gamma, Weibull
from servecast.traces.servegen import CLIENTS, HISTOGRAMS, read_pool

CLIENT_ROWS = """pool,client,window_s,mean_rate,cv_rate_weighted,frac_gamma,dataset
language/tiny,0,600,3.0,1.5,0.9,present
language/tiny,1,600,1.0,2.5,0.2,absent
language/tiny,2,600,0.0,,,present
language/other,0,600,9.0,1.0,0.5,present
"""
HISTOGRAM_ROWS = """pool,client,field,bin_lo,bin_hi,prob
language/tiny,0,input_tokens,10,20,0.5
language/tiny,0,input_tokens,20,40,0.5
language/tiny,0,output_tokens,1,2,1.0
language/other,0,input_tokens,900,901,1.0
"""


def folder(path: Path, clients: str = CLIENT_ROWS, histograms: str = HISTOGRAM_ROWS) -> Path:
    (path / CLIENTS).write_text(clients)
    (path / HISTOGRAMS).write_text(histograms)
    return path


def test_a_client_is_a_rate_a_way_to_vary_and_lengths(tmp_path: Path) -> None:
    pool = read_pool(folder(tmp_path), "tiny")
    assert [client.rate_per_s for client in pool.clients] == [3.0, 1.0]
    assert [client.arrivals for client in pool.clients] == [Gamma(1.5), Weibull(2.5)]
    known, missing = (client.lengths for client in pool.clients)
    assert missing is None
    assert known is not None
    assert known[0].low.tolist() == [10, 20]
    assert (pool.name, pool.rate_per_s) == ("tiny", 4.0)
    assert "Apache-2.0" in pool.attribution


def test_a_pool_may_be_named_in_full_and_an_unknown_one_is_told_the_nearest(
    tmp_path: Path,
) -> None:
    assert read_pool(folder(tmp_path), "language/tiny").name == "tiny"
    with pytest.raises(InputError, match="pool `tinny` is unknown") as told:
        read_pool(folder(tmp_path), "tinny")
    assert "`tiny`" in str(told.value.hint)


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ("3.0,1.5", "fast,1.5", "line 2: mean_rate is `fast`"),
        ("3.0,1.5", "-3,1.5", "line 2: mean_rate is `-3`"),
        ("3.0,1.5", "3.0,0.001", "burst cv is 0.001"),
        ("mean_rate", "rate", "no column `mean_rate`"),
    ],
)
def test_a_bad_client_is_told(tmp_path: Path, good: str, bad: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_pool(folder(tmp_path, CLIENT_ROWS.replace(good, bad)), "tiny")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_pool(tmp_path, "tiny")


@pytest.mark.parametrize(
    ("name", "clients", "inputs", "outputs", "unknown", "cv"),
    [
        ("m-large", 162, 914, 155, 0.37, 3.1),
        ("m-mid", 108, 307, 51, 0.29, 15.9),
        ("deepseek-r1", 73, 1268, 1527, 0.0, 2.3),
    ],
)
def test_published_pools_are_as_the_sheet_has_them(
    data_dir: Path, name: str, clients: int, inputs: int, outputs: int, unknown: float, cv: float
) -> None:
    """Weighted by rate: mean lengths, the variation of gaps, and the rate of unknown lengths."""
    pool = read_pool(data_dir / "traces", name)
    assert len(pool.clients) == clients
    missing = sum(client.rate_per_s for client in pool.clients if client.lengths is None)
    assert isclose(missing / pool.rate_per_s, unknown, abs_tol=0.006)
    known = [client for client in pool.clients if client.lengths is not None]
    rates = np.array([client.rate_per_s for client in known])
    cvs = [each.arrivals.cv for each in known if isinstance(each.arrivals, Gamma | Weibull)]
    assert isclose(float(np.average(cvs, weights=rates)), cv, abs_tol=0.06)

    workload = pool.synthesize(100.0, 1200.0, seed=1)
    assert isclose(len(workload), 120_000, rel_tol=0.05)
    assert isclose(float(workload.prompt_tokens.mean()), inputs, rel_tol=0.05)
    assert isclose(float(workload.output_tokens.mean()), outputs, rel_tol=0.05)


def test_a_pool_without_input_lengths_is_refused(data_dir: Path) -> None:
    with pytest.raises(InputError, match="of no client"):
        read_pool(data_dir / "traces", "mm-image").synthesize(9.0, 600.0)
