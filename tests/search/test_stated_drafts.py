"""What a start command says of drafts, in the forms in which vLLM takes it."""

from __future__ import annotations

import json
import shlex

import pytest

from servecast.errors import InputError, UnsupportedError
from servecast.search.serve_command import parse
from servecast.search.stated_drafts import StatedDrafts

NGRAM = StatedDrafts("ngram", 3, None)
SMALL = "meta-llama/Llama-3.2-1B"


def stated(**keys: object) -> str:
    return shlex.join(["vllm", "serve", "m", "--speculative-config", json.dumps(keys)])


@pytest.mark.parametrize(
    "command",
    [
        stated(method="ngram", num_speculative_tokens=3, prompt_lookup_max=4),
        stated(model="[ngram]", num_speculative_tokens=3),
        "vllm serve m -sc.method ngram --speculative_config.num_speculative_tokens=3",
        "vllm serve m --spec-method ngram --spec-tokens 3",
        'vllm serve m -sc \'{"method": "ngram", "num_speculative_tokens": 9}\' --spec-tokens 3',
    ],
    ids=["JSON", "by the model", "dots", "short options", "an option over the JSON"],
)
def test_the_same_drafts_in_every_form(command: str) -> None:
    found = parse(command)
    assert found.drafts == NGRAM
    assert found.unmodelled == ()


@pytest.mark.parametrize(
    ("keys", "method"),
    [
        ({"model": SMALL}, "draft_model"),
        ({"method": "draft_model", "model": SMALL}, "draft_model"),
        ({"model": "yuhuili/EAGLE-LLaMA3-Instruct-8B"}, "eagle"),
        ({"model": "AngelSlim/Qwen3-8B_eagle3"}, "eagle3"),
        ({"method": "deepseek_mtp"}, "mtp"),
    ],
)
def test_the_method_is_found_as_vllm_finds_it(keys: dict[str, object], method: str) -> None:
    found = parse(stated(num_speculative_tokens=2, **keys)).drafts
    assert found is not None
    assert (found.method, found.num_speculative_tokens) == (method, 2)
    assert found.model == keys.get("model")


def test_drafts_by_batch_size_are_read() -> None:
    by_batch = stated(
        method="ngram",
        num_speculative_tokens=3,
        num_speculative_tokens_per_batch_size=[[1, 8, 3], [9, 64, 0]],
    )
    assert parse(by_batch).drafts == StatedDrafts("ngram", 3, None, ((1, 8, 3), (9, 64, 0)))


@pytest.mark.parametrize("ranges", [7, [[1, 8]], [["one", 8, 3]], [[2, 8, 3]]])
def test_drafts_by_batch_size_that_vllm_refuses_are_refused(ranges: object) -> None:
    wrong = stated(
        method="ngram", num_speculative_tokens=3, num_speculative_tokens_per_batch_size=ranges
    )
    with pytest.raises(InputError, match="num_speculative_tokens_per_batch_size"):
        parse(wrong)


def test_no_drafts_are_none() -> None:
    assert parse("vllm serve m").drafts is None


@pytest.mark.parametrize(
    ("command", "error", "told"),
    [
        (stated(method="ngram"), InputError, "num_speculative_tokens `None`"),
        (stated(method="ngram", num_speculative_tokens=0), InputError, "tokens `0`"),
        (stated(method="ngram", num_speculative_tokens=True), InputError, "tokens `True`"),
        ("vllm serve m --speculative-config ngram", InputError, "is not JSON"),
        ("vllm serve m --speculative-config '[3]'", InputError, "not a JSON object"),
        (stated(method="medusa", num_speculative_tokens=2), UnsupportedError, "`medusa`"),
        (
            stated(method="ngram", num_speculative_tokens=2, disable_padded_drafter_batch=True),
            UnsupportedError,
            "disable_padded_drafter_batch",
        ),
    ],
)
def test_what_cannot_be_followed_is_told(command: str, error: type[InputError], told: str) -> None:
    with pytest.raises(error, match=told):
        parse(command)
