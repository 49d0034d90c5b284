"""The section `transfer`: what carries KV caches from pools that prefill to pools that decode."""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast import simulate_fleet
from servecast.errors import InputError
from servecast.fleets import fleet
from servecast.loading import loads
from servecast.simulator.fleet.transfer import Transfer
from tests.command import assert_refused, run, write
from tests.servecast.minimal import changed, faults

POOLS = """\
pools:
  - {name: prompts, role: prefill}
  - {name: outputs, role: decode, deployment: {replicas: 2}}
"""
SPLIT = changed("gpus: 1", "gpus: 3") + POOLS
STATED = SPLIT + "transfer: {gb_per_s: 25, latency_us: 300, first_token: decode}\n"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def test_a_transfer_is_read_in_the_units_of_its_fields() -> None:
    expected = Transfer(bw_bytes_per_s=25e9, latency_s=3e-4, first_token="decode")
    assert fleet(loads(STATED)).transfer == expected
    named = SPLIT + "transfer: {link: scale_up, by_layer: true, max_local_prefill_tokens: 64}\n"
    assert fleet(loads(named)).transfer == Transfer(
        link="scale_up", by_layer=True, max_local_prefill_tokens=64
    )


def test_it_may_be_left_out() -> None:
    assert fleet(loads(SPLIT)).transfer is None
    assert len(simulate_fleet(loads(SPLIT)).records) == 5


def test_it_is_written_and_read_again() -> None:
    assert loads(loads(STATED).dump()) == loads(STATED)


def test_a_slower_link_shows_between_the_first_two_tokens() -> None:
    slow = STATED.replace("25", "0.1").replace("first_token: decode", "first_token: prefill")
    fast = slow.replace("0.1", "25")
    late, early = (simulate_fleet(loads(text)) for text in (slow, fast))
    assert late.itl.max > 2 * early.itl.max
    assert late.ttft.p50 == pytest.approx(early.ttft.p50, rel=0.05)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{link: network, gb_per_s: 25}", "names a link and states its rate"),
        ("{gb_per_s: 0}", "should be greater than 0"),
        ("{latency_us: -1}", "greater than or equal to 0"),
        ("{by_layers: true}", "by_layer"),
        ("{first_token: both}", "first_token"),
    ],
)
def test_faults_are_named(section: str, message: str) -> None:
    assert message in str(faults(f"{SPLIT}transfer: {section}\n"))


def test_a_transfer_between_no_such_pools_is_refused() -> None:
    whole = STATED.replace("role: prefill", "role: both").replace("role: decode", "role: both")
    with pytest.raises(InputError, match="every pool serves requests whole"):
        fleet(loads(whole))
    lone = changed("gpus: 1", "gpus: 3") + "transfer: {gb_per_s: 25}\n"
    write(Path(), lone)
    assert_refused(run("simulate", "small.yaml"), 2, "every pool serves requests whole")


def test_the_verb_shows_both_pools() -> None:
    write(Path(), STATED)
    shown = run("simulate", "small.yaml").out
    assert "prompts (prefill)" in shown
    assert "outputs (decode)" in shown
