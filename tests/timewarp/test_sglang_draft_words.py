"""The options of a server that drafts: as SGLang's own parser and resolution read them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from servecast.errors import UnsupportedError
from servecast.primitives.speculation import DraftModel, Method, Speculation
from servecast.timewarp.sglang_engine import SglangEngine
from servecast.timewarp.sglang_options import draft_words
from servecast.timewarp.sglang_seam import srt
from tests.timewarp.emulated_cases import burst
from tests.timewarp.sglang_cases import DEPLOYMENT, emulated

with_engine = pytest.mark.engine(name="sglang")
OWN = DraftModel(DEPLOYMENT.model, DEPLOYMENT.weights_dtype)
LOOKUP = Speculation("ngram", 3, (0.8, 0.6, 0.4))


def drafts(method: Method) -> Speculation:
    return Speculation(method, 3, (0.8, 0.6, 0.4), None if method == "ngram" else OWN)


def test_a_chain_counts_the_token_before_its_drafts() -> None:
    words = draft_words(drafts("eagle3"), "target")
    said = dict(zip(words[::2], words[1::2], strict=True))
    assert said == {
        "--speculative-algorithm": "EAGLE3",
        "--speculative-draft-model-path": OWN.model.name,
        "--speculative-num-steps": "3",
        "--speculative-eagle-topk": "1",
        "--speculative-num-draft-tokens": "4",
    }
    assert draft_words(None, "target") == []


def test_a_layer_of_the_target_s_own_is_found_in_its_checkpoint() -> None:
    words = draft_words(drafts("mtp"), "target")
    assert words[:4] == [
        *("--speculative-algorithm", "EAGLE", "--speculative-draft-model-path", "target")
    ]


def test_fewer_drafts_in_larger_steps_are_refused() -> None:
    fewer = dataclasses.replace(LOOKUP, num_speculative_tokens_per_batch_size=((1, 64, 1),))
    with pytest.raises(UnsupportedError, match="num_speculative_tokens_per_batch_size"):
        draft_words(fewer, "target")


@with_engine
@pytest.mark.parametrize("method", ["ngram", "draft_model", "eagle", "eagle3", "mtp"])
def test_sglang_resolves_them_as_they_are_simulated(
    method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    start = SglangEngine._start  # pyright: ignore[reportPrivateUsage]

    def noted(self: SglangEngine, arguments: Any) -> Any:
        scheduler = start(self, arguments)
        reserve = srt("mem_cache.allocation_sizing").get_alloc_reserve_per_decode()
        started.append((scheduler.spec_algorithm.name, scheduler.enable_overlap, reserve))
        return scheduler

    monkeypatch.setattr(SglangEngine, "_start", noted)
    served = dataclasses.replace(DEPLOYMENT, speculation=drafts(method))
    run = emulated(burst(2, [20], [9]), deployment=served)
    algorithm = "STANDALONE" if method == "draft_model" else method.upper()
    assert started == [("EAGLE" if method == "mtp" else algorithm, True, 2 * 4)]
    assert len(run.result.records) == 2


@with_engine
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--speculative-ngram-max-bfs-breadth", "4"), "--speculative-ngram-max-bfs-breadth 4"),
        (("--speculative-num-draft-tokens", "8"), "--speculative-num-draft-tokens 8"),
        (("--speculative-adaptive",), "--speculative-adaptive True"),
        (("--enable-mixed-chunk",), "--enable-mixed-chunk is not emulated beside drafts"),
    ],
)
def test_drafts_of_which_the_acceptance_is_not_known_are_refused(
    options: tuple[str, ...], named: str
) -> None:
    served = dataclasses.replace(DEPLOYMENT, speculation=LOOKUP)
    with pytest.raises(UnsupportedError, match=named):
        emulated(burst(1, [10], [2]), *options, deployment=served)
