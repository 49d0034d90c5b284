"""Drafts as vLLM itself reads and resolves them, and the blocks that it makes beside them."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from servecast.errors import UnsupportedError
from servecast.primitives.catalogue import accelerator, model
from servecast.primitives.deployment import Deployment
from servecast.primitives.drafters import eagle_head, mtp_layer, own_model
from servecast.primitives.dtype import Dtype
from servecast.primitives.memory import ledger
from servecast.primitives.speculation import DraftModel, Method, Speculation
from servecast.search.vllm_arguments import arguments, words
from servecast.timewarp.foreign import foreign
from servecast.timewarp.vllm_engine import parse, write_draft, write_model
from servecast.timewarp.vllm_platform import present

pytestmark = pytest.mark.engine(name="vllm")

LLAMA, SMALL, DEEPSEEK = model("llama-3.1-8b"), model("llama-3.2-1b"), model("deepseek-v3")
PLAIN = Deployment(
    model=LLAMA,
    accelerator=accelerator("h200_sxm"),
    engine="vllm",
    engine_version="0.32.0",
    weights_dtype=Dtype.BF16,
    kv_cache_dtype=Dtype.BF16,
    max_model_len=2048,
    max_num_seqs=64,
    max_num_batched_tokens=2048,
)


@pytest.fixture(autouse=True)
def _with_vllm() -> None:  # pyright: ignore[reportUnusedFunction]
    pytest.importorskip("vllm")


def drafting(method: Method) -> Deployment:
    """A deployment that drafts two tokens by a method."""
    drafts: dict[Method, DraftModel] = {
        "draft_model": own_model(LLAMA, SMALL),
        "eagle": eagle_head(LLAMA, "an/eagle-head", 1),
        "eagle3": eagle_head(LLAMA, "an/eagle3-head", 3),
        "mtp": mtp_layer(DEEPSEEK, Dtype.FP8),
    }
    target = DEEPSEEK if method == "mtp" else LLAMA
    ranks = 8 if method == "mtp" else 1
    speculation = Speculation(method, 2, (0.6, 0.3), drafts.get(method))
    served = dataclasses.replace(PLAIN, model=target, weights_dtype=target.weights_dtype)
    return dataclasses.replace(served, tensor_parallel_size=ranks, speculation=speculation)


def parsed(deployment: Deployment, folder: Path) -> Any:
    """The emitted options as vLLM's parser takes them, the models being stand-ins in a folder."""
    present(deployment.accelerator)
    write_model(folder, deployment)
    emitted = words(arguments(deployment, 1000))
    read = foreign("vllm.engine.arg_utils").EngineArgs
    parser = read.add_cli_args(foreign("vllm.utils.argparse_utils").FlexibleArgumentParser())
    emitted += ["--model", str(folder), "--skip-tokenizer-init"]
    said = read.from_cli_args(parse(parser, emitted))
    here = read.from_cli_args(parse(parser, [*emitted, *write_draft(folder, deployment)]))
    return said.speculative_config, here


@pytest.mark.parametrize("method", ["ngram", "draft_model", "eagle", "eagle3", "mtp"])
def test_what_is_emitted_is_what_vllm_resolves(method: Method) -> None:
    deployment = drafting(method)
    ours = deployment.drafting
    assert ours is not None
    with tempfile.TemporaryDirectory() as folder:
        said, here = parsed(deployment, Path(folder))
        assert said == json.loads(ours.config())
        config = here.create_engine_config()
    theirs = config.speculative_config
    assert (theirs.method, theirs.num_speculative_tokens) == (method, 2)
    assert theirs.use_eagle() == ours.uses_hidden_states
    assert config.num_lookahead_tokens == ours.num_lookahead_tokens
    assert theirs.max_num_new_slots_for_drafting == ours.draft_slots


def test_drafts_by_batch_size_are_those_that_vllm_looks_up() -> None:
    ranges = ((5, 9, 1), (1, 3, 2), (20, 600, 0))
    ours = Speculation("ngram", 2, (0.6, 0.3), num_speculative_tokens_per_batch_size=ranges)
    deployment = dataclasses.replace(PLAIN, speculation=ours)
    with tempfile.TemporaryDirectory() as folder:
        said, here = parsed(deployment, Path(folder))
        assert said == json.loads(ours.config())
        config = here.create_engine_config()
    theirs = foreign("vllm.v1.spec_decode.dynamic.utils").build_dynamic_sd_schedule_lookup(
        config.speculative_config.num_speculative_tokens_per_batch_size, 64, 2
    )
    assert theirs[1:] == list(ours.drafts_by_batch(64))[1:]


def test_a_draft_models_layers_share_the_blocks_as_vllm_cuts_them() -> None:
    meta, cutting = foreign("servecast.timewarp.meta_model"), foreign("vllm.v1.core.kv_cache_utils")
    memory = 20 * 2**30
    with tempfile.TemporaryDirectory() as folder:
        _, here = parsed(drafting("ngram"), Path(folder))
        config = here.create_engine_config()
        config.cache_config.num_gpu_blocks_override = None
        specs = dict(meta.build_meta_model(config).specs)
    with tempfile.TemporaryDirectory() as folder:
        small = dataclasses.replace(drafting("ngram"), model=SMALL)
        _, here = parsed(small, Path(folder))
        drafts = meta.build_meta_model(here.create_engine_config()).specs
    layouts = foreign("vllm.v1.attention.backends.utils")
    specs |= {f"draft.{name}": spec for name, spec in drafts.items()}
    layouts.resolve_kv_cache_layout(config, [["LBNHC"]], list(specs.values()))
    (cut,) = cutting.get_kv_cache_configs(config, [specs], [memory])
    geometry = ledger(drafting("draft_model")).geometry
    assert len(cut.kv_cache_groups) == len(geometry.groups) == 1
    assert cut.num_blocks == geometry.num_blocks(memory)


def test_a_stand_in_predicts_no_tokens(tmp_path: Path) -> None:
    unknown = model("MiMo-7B-Base")
    speculation = Speculation("mtp", 1, (0.8,), mtp_layer(unknown, Dtype.BF16))
    served = dataclasses.replace(PLAIN, model=unknown, speculation=speculation)
    with pytest.raises(UnsupportedError, match=r"without its config\.json"):
        write_draft(tmp_path, served)


@pytest.mark.parametrize(
    ("target", "draft"),
    [("google/gemma-3-27b-it", "Qwen/Qwen3-8B"), ("Qwen/Qwen3-8B", "google/gemma-3-4b-it")],
    ids=["a stand-in for the target", "a stand-in for the draft"],
)
def test_a_draft_has_as_many_tokens_as_its_target_whatever_stands_in(
    target: str, draft: str, tmp_path: Path
) -> None:
    speculation = Speculation("draft_model", 1, (0.8,), DraftModel(model(draft), Dtype.BF16))
    served = dataclasses.replace(PLAIN, model=model(target), speculation=speculation)
    write_model(tmp_path, served)
    write_draft(tmp_path, served)
    written = [json.loads((tmp_path / at / "config.json").read_text()) for at in ("", "draft")]
    assert written[0]["vocab_size"] == written[1]["vocab_size"]
