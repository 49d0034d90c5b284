"""The number format of a checkpoint, as its `config.json` states the quantization."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from servecast.primitives.dtype import Dtype
from servecast.primitives.hf_config import read_config
from tests.hf_configs import LLAMA, Keys, changed, write


def group(bits: int, kind: str, size: int) -> Keys:
    return {
        "config_groups": {"g": {"weights": {"num_bits": bits, "type": kind, "group_size": size}}}
    }


@pytest.mark.parametrize(
    ("quantization", "dtype"),
    [
        ({"quant_method": "fp8"}, Dtype.FP8),
        ({"quant_method": "fbgemm_fp8"}, Dtype.FP8),
        ({"quant_method": "mxfp4"}, Dtype.MXFP4),
        ({"quant_method": "awq", "bits": 4}, Dtype.INT4),
        ({"quant_method": "awq", "w_bit": 4}, Dtype.INT4),
        ({"quant_method": "gptq", "bits": 8}, Dtype.INT8),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, Dtype.INT4),
        ({"quant_method": "compressed-tensors", **group(8, "int", 0)}, Dtype.INT8),
        ({"quant_method": "compressed-tensors", **group(8, "float", 0)}, Dtype.FP8),
        ({"quant_method": "compressed-tensors", **group(4, "float", 16)}, Dtype.NVFP4),
        ({"quant_method": "compressed-tensors", **group(4, "float", 32)}, Dtype.MXFP4),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, Dtype.NVFP4),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, Dtype.FP8),
    ],
)
def test_the_weights_format_is_that_of_the_quantization(
    tmp_path: Path, quantization: Keys, dtype: Dtype
) -> None:
    keys = LLAMA | {"quantization_config": quantization}
    assert read_config(write(tmp_path, keys)).weights_dtype is dtype


def test_a_quantization_file_beside_the_config_counts(tmp_path: Path) -> None:
    write(tmp_path, LLAMA)
    beside = tmp_path / "hf_quant_config.json"
    beside.write_text(json.dumps({"quantization": {"quant_algo": "FP8"}}))
    assert read_config(tmp_path).weights_dtype is Dtype.FP8


@pytest.mark.parametrize(
    ("stated", "dtype"),
    [("float16", Dtype.FP16), ("torch.bfloat16", Dtype.BF16), (None, Dtype.BF16)],
)
def test_without_quantization_it_is_the_torch_dtype(
    tmp_path: Path, stated: str | None, dtype: Dtype
) -> None:
    keys = changed(LLAMA, torch_dtype=stated)
    assert read_config(write(tmp_path, keys)).weights_dtype is dtype
