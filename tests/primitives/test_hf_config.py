"""A `config.json` is read into a model, or refused by file, key and rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.hf_config import read_config
from tests.hf_configs import LLAMA, Keys, changed, write


def test_the_model_is_named_after_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "My-Llama"
    folder.mkdir()
    write(folder, LLAMA)
    assert read_config(folder).name == "My-Llama"


@pytest.mark.parametrize(
    ("changes", "key", "rule"),
    [
        ({"hidden_size": None}, "hidden_size", "is missing"),
        ({"num_hidden_layers": None}, "num_hidden_layers", "is missing"),
        ({"num_hidden_layers": 0}, "num_hidden_layers", "must be above 0"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers", "is too large"),
        ({"intermediate_size": None}, "intermediate_size", "is missing"),
        ({"vocab_size": -1}, "vocab_size", "must be above 0"),
        ({"vocab_size": 10**30}, "vocab_size", "is too large"),
        ({"hidden_size": "4096"}, "hidden_size", "must be a whole number"),
        ({"hidden_size": 4096.5}, "hidden_size", "must be a whole number"),
        ({"hidden_size": float("nan")}, "hidden_size", "must be a whole number"),
        ({"hidden_size": float("inf")}, "hidden_size", "must be a whole number"),
        ({"hidden_size": True}, "hidden_size", "must be a whole number"),
        ({"hidden_size": [4096]}, "hidden_size", "must be a whole number"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings", "must be true or false"),
        ({"num_key_value_heads": 7}, "num_key_value_heads", "must divide"),
        ({"num_attention_heads": 24}, "head_dim", "is missing"),
        ({"layer_types": ["full_attention"]}, "layer_types", "1 entries for 32 layers"),
        ({"layer_types": ["sliding_attention"] * 32}, "sliding_window", "is missing"),
        ({"layer_types": ["dreaming"] * 32}, "layer_types", "dreaming"),
        ({"num_local_experts": 8}, "num_experts_per_tok", "is missing"),
        (
            {"num_local_experts": 4, "num_experts_per_tok": 8},
            "num_experts_per_tok",
            "exceeds the 4",
        ),
        ({"torch_dtype": "float12"}, "torch_dtype", "float12"),
        ({"quantization_config": {"quant_method": "runes"}}, "quant_method", "runes"),
        ({"quantization_config": {"quant_method": "awq", "bits": 3}}, "bits", "must be 4 or 8"),
        (
            {"quantization_config": {"quant_method": "modelopt", "quant_algo": "X"}},
            "quant_algo",
            "X",
        ),
        (
            {"quantization_config": {"quant_method": "compressed-tensors"}},
            "config_groups",
            "no group",
        ),
        ({"quantization_config": "fp8"}, "quantization_config", "must be an object"),
        ({"text_config": "none"}, "text_config", "must be an object"),
        ({"architectures": []}, "architectures", "must name"),
    ],
)
def test_a_key_that_breaks_a_rule_is_named_with_file_and_rule(
    tmp_path: Path, changes: Keys, key: str, rule: str
) -> None:
    file = write(tmp_path, changed(LLAMA, **changes))
    with pytest.raises(InputError) as caught:
        read_config(file)
    assert str(file) in caught.value.message
    assert key in caught.value.message
    assert rule in caught.value.message
    assert "servecast models" in str(caught.value.hint)


def test_all_broken_keys_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, changed(LLAMA, hidden_size=0, vocab_size=None))
    with pytest.raises(InputError) as caught:
        read_config(file)
    assert "hidden_size" in caught.value.message
    assert "vocab_size" in caught.value.message


def test_an_architecture_that_is_not_modelled_is_refused_by_name(tmp_path: Path) -> None:
    keys = LLAMA | {"architectures": ["DeepseekV4ForCausalLM"]}
    with pytest.raises(UnsupportedError, match="DeepseekV4ForCausalLM") as caught:
        read_config(write(tmp_path, keys))
    assert "DeepseekV3" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "rule"),
    [("", "is not JSON"), ("{", "is not JSON"), ("[1]", "JSON object"), ("[" * 10**5, "not JSON")],
    ids=["empty", "cut", "list", "nested"],
)
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, text: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        read_config(write(tmp_path, text))


def test_a_folder_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json` cannot be read"):
        read_config(tmp_path)
