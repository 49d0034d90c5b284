"""Models of the catalogue: found by the names people type, layers as published."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from servecast.errors import InputError
from servecast.primitives.catalogue import model, models
from servecast.primitives.dtype import Dtype
from servecast.primitives.model import (
    Attention,
    LatentAttention,
    LinearAttention,
    ModelSpec,
    MoeFfn,
)

LEFT_OUT = {  # models of the published table that layers of the catalogue cannot state
    "deepseek-ai/DeepSeek-V4-Flash": "keys and values compressed 4 and 128 times",
    "deepseek-ai/DeepSeek-V4-Pro": "keys and values compressed 4 and 128 times",
    "MiniMaxAI/MiniMax-M3": "grouped attention over the blocks of keys that an indexer picks",
}


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def kv_bytes_per_token(spec: ModelSpec) -> int:
    """Of all layers in bf16, windows ignored, as the published table counts."""
    total = 0
    for group in spec.layers:
        match group.mixer:
            case Attention() as a:
                total += group.count * a.kv_heads * (a.head_dim + a.value_dim) * 2
            case LatentAttention() as a:
                total += group.count * a.latent_dim * 2
            case _:
                pass
    return total


@pytest.mark.parametrize(
    "typed",
    [
        "meta-llama/Llama-3.1-70B-Instruct",
        "meta-llama/Meta-Llama-3.1-70B-Instruct",
        "Meta-Llama-3.1-70B",
        "llama-3.1-70b",
        "LLAMA-3.1-70B-instruct",
    ],
)
def test_people_name_the_same_model_in_many_ways(typed: str) -> None:
    assert model(typed) is model("meta-llama/Llama-3.1-70B")


def test_a_quantized_checkpoint_differs_in_name_and_weights_alone() -> None:
    base, quantized = model("Qwen/Qwen3-32B"), model("nvidia/Qwen3-32B-NVFP4")
    assert quantized.weights_dtype is Dtype.NVFP4
    assert quantized.name == "nvidia/Qwen3-32B-NVFP4"
    assert quantized.layers == base.layers
    assert quantized not in models()


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("Qwen/Qwen3-33B", "Qwen/Qwen3-32B"),
        ("meta-llama/Llama-3.1-8B-Instuct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("gpt-oss-20", "gpt-oss-20b"),
    ],
)
def test_an_unknown_model_names_a_neighbour_and_both_ways_on(typed: str, near: str) -> None:
    with pytest.raises(InputError, match=f"`{typed}` is unknown") as caught:
        model(typed)
    hint = str(caught.value.hint)
    assert f"`{near}`" in hint
    assert "servecast models" in hint
    assert "config.json" in hint


def test_an_empty_name_is_no_folder() -> None:
    with pytest.raises(InputError, match="`` is unknown"):
        model("")


def test_a_model_may_be_the_path_of_a_config_or_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    keys = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "vocab_size": 1000,
        "max_position_embeddings": 2048,
    }
    (folder / "config.json").write_text(json.dumps(keys))
    assert model(str(folder)).name == "my-model"
    assert model(str(folder / "config.json")) == model(str(folder))


def test_a_path_that_does_not_exist_is_not_taken_for_a_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        model(str(tmp_path / "nowhere" / "config.json"))


def test_models_of_the_published_table_are_known_but_those_left_out(data_dir: Path) -> None:
    table = rows(data_dir / "models" / "model_configs.csv")
    for row in table:
        if row["model"] in LEFT_OUT:
            with pytest.raises(InputError, match="unknown"):
                model(row["model"])
            continue
        spec = model(row["model"])
        assert spec.architecture == row["arch"]
        assert spec.hidden == int(row["hidden"]), row["model"]
        assert spec.vocab == int(row["vocab"]), row["model"]
        assert spec.num_layers == int(row["layers"] or 108), row["model"]
        assert spec.max_model_len == int(row["max_pos"]), row["model"]
        assert spec.tie_embeddings == (row["tie_embeddings"] == "True"), row["model"]
        if row["regular_arch"] == "True":
            assert kv_bytes_per_token(spec) == int(row["kv_bytes_per_token_bf16"]), row["model"]


def test_layers_of_hybrids_count_as_the_published_table_says(data_dir: Path) -> None:
    """Where it says so: kinds with counts, or a pattern of one character per layer."""
    checked = 0
    for row in rows(data_dir / "models" / "model_configs.csv"):
        stated = dict(re.findall(r"(\w+?)(?:_attention)?:(\d+)", row["layer_types"]))
        pattern = row["layer_types"].partition("hybrid ")[2]
        if pattern:
            stated = {"linear": pattern.count("M"), "full": pattern.count("*")}
        if not stated:
            continue
        found = {"sliding": 0, "full": 0, "linear": 0}
        for group in model(row["model"]).layers:
            match group.mixer:
                case Attention(window=None):
                    found["full"] += group.count
                case Attention():
                    found["sliding"] += group.count
                case LinearAttention():
                    found["linear"] += group.count
                case _:
                    pass
        assert {k: v for k, v in found.items() if v} == {k: int(v) for k, v in stated.items()}
        checked += 1
    assert checked == 13


@pytest.mark.parametrize("spec", models(), ids=lambda spec: spec.name)
def test_a_model_holds_together(spec: ModelSpec) -> None:
    assert model(spec.name) is spec
    for group in spec.layers:
        assert group.count > 0
        assert group.mixer is not None or group.ffn is not None
        if isinstance(group.mixer, Attention):
            assert group.mixer.heads % group.mixer.kv_heads == 0
            assert group.mixer.window is None or group.mixer.window < spec.max_model_len
        if isinstance(group.mixer, LatentAttention):
            assert group.mixer.index_topk is not None or group.mixer.index_heads == 0
        if isinstance(group.ffn, MoeFfn):
            assert group.ffn.experts_per_token < group.ffn.experts
    assert re.search(r"\((seen|partly|recalled|guess)\)$", spec.source)
