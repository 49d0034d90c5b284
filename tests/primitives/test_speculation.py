"""Which drafts are accepted, and what vLLM is told of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.errors import InputError
from servecast.primitives.catalogue import model
from servecast.primitives.drafters import eagle_head, mtp_layer, own_model
from servecast.primitives.dtype import Dtype
from servecast.primitives.speculation import DraftModel, Speculation

CHANCES = (0.8, 0.55, 0.3, 0.1)
NGRAM = Speculation("ngram", 4, CHANCES)


def test_each_position_is_accepted_as_often_as_asked() -> None:
    drawn = np.array([NGRAM.accepted(request, at) for request in range(40) for at in range(500)])
    found = [(drawn >= i).mean() for i in range(1, 5)]
    assert np.abs(np.array(found) - CHANCES).max() < 3 * 0.5 / np.sqrt(len(drawn))


@given(request=st.integers(0, 10**6), position=st.integers(0, 10**6))
def test_a_draw_is_a_matter_of_request_position_and_seed(request: int, position: int) -> None:
    again = Speculation("ngram", 4, CHANCES)
    assert NGRAM.accepted(request, position) == again.accepted(request, position)
    assert Speculation("ngram", 2, (1.0, 1.0)).accepted(request, position) == 2
    assert Speculation("ngram", 2, (0.0, 0.0)).accepted(request, position) == 0


def test_seeds_requests_and_positions_draw_apart() -> None:
    other = Speculation("ngram", 4, CHANCES, seed=1)
    rows = [[each.accepted(0, at) for at in range(200)] for each in (NGRAM, other)]
    rows.append([NGRAM.accepted(1, at) for at in range(200)])
    assert rows[0] != rows[1] != rows[2] != rows[0]


@pytest.mark.parametrize(
    ("tokens", "acceptance", "spread", "told"),
    [
        (3, (0.5, 0.4), 0.0, "acceptance has 2 positions"),
        (2, (0.5, 0.6), 0.0, "falling"),
        (1, (1.5,), 0.0, "between 1 and 0"),
        (1, (float("nan"),), 0.0, "between 1 and 0"),
        (1, (0.5,), 0.5, "request_spread 0.5"),
        (1, (0.5,), -0.1, "request_spread -0.1"),
        (1, (1.0,), 0.1, "request_spread 0.1"),
        (0, (), 0.1, "request_spread 0.1"),
    ],
)
def test_what_makes_no_speculation_is_refused(
    tokens: int, acceptance: tuple[float, ...], spread: float, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        Speculation("ngram", tokens, acceptance, request_spread=spread)


def test_a_method_has_a_draft_model_or_looks_up() -> None:
    with pytest.raises(InputError, match="draft_model needs draft model"):
        Speculation("draft_model", 1, (0.5,))
    with pytest.raises(InputError, match="ngram has no draft model"):
        Speculation("ngram", 1, (0.5,), DraftModel(model("llama-3.2-1b"), Dtype.BF16))


def test_requests_that_differ_have_each_its_own_chances() -> None:
    unequal = Speculation("ngram", 4, CHANCES, request_spread=0.19)
    own = np.array([unequal.chances(request) for request in range(4000)])
    assert np.abs(own.mean(axis=0) - CHANCES).max() < 4 * 0.19 / np.sqrt(4000)
    assert own[:, 0].std() == pytest.approx(0.19, abs=0.01)
    assert (np.diff(own, axis=1) <= 0).all()
    assert NGRAM.chances(7) == CHANCES


def test_vllm_is_told_the_method_the_drafts_and_where_the_model_is() -> None:
    assert json.loads(NGRAM.config()) == {"method": "ngram", "num_speculative_tokens": 4}
    llama, small = model("llama-3.1-70b"), model("llama-3.2-1b")
    drafted = Speculation("draft_model", 1, (0.5,), own_model(llama, small))
    assert json.loads(drafted.config())["model"] == small.name
    assert json.loads(drafted.config("/here"))["model"] == "/here"
    deepseek = model("deepseek-v3")
    mtp = Speculation("mtp", 1, (0.5,), mtp_layer(deepseek, Dtype.FP8))
    assert json.loads(mtp.config("/here")) == {"method": "mtp", "num_speculative_tokens": 1}


def test_vllm_is_told_the_drafts_by_batch_size() -> None:
    by_batch = Speculation(
        "ngram", 4, CHANCES, num_speculative_tokens_per_batch_size=((1, 8, 4), (9, 64, 0))
    )
    told = json.loads(by_batch.config())
    assert told["num_speculative_tokens_per_batch_size"] == [[1, 8, 4], [9, 64, 0]]
    assert list(by_batch.drafts_by_batch(10)) == [0, *[4] * 8, 0, 0]
    assert list(NGRAM.drafts_by_batch(2)) == [4, 4, 4]
    with pytest.raises(InputError, match="batch of 2"):
        Speculation("ngram", 4, CHANCES, num_speculative_tokens_per_batch_size=((2, 8, 4),))


def test_vllm_keeps_room_for_what_a_model_drafts() -> None:
    llama = model("llama-3.1-8b")
    head = Speculation("eagle3", 4, CHANCES, eagle_head(llama, "head", 3))
    own = Speculation("draft_model", 4, CHANCES, own_model(llama, model("llama-3.2-1b")))
    assert [each.num_lookahead_tokens for each in (NGRAM, head, own)] == [0, 4, 4]
    assert [each.draft_slots for each in (NGRAM, head, own)] == [0, 0, 1]
    assert [each.uses_hidden_states for each in (NGRAM, head, own)] == [False, True, False]
