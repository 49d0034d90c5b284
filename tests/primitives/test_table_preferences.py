"""Which tables of experts speak for a deployment whose kernel its launch script names."""

from __future__ import annotations

import pytest

from servecast.primitives.cost_table import TableKey
from servecast.primitives.deployment import ExpertsKernel
from servecast.primitives.dtype import Dtype
from servecast.primitives.operations import Gemm, MoeExperts
from servecast.primitives.table_preferences import TablePreferences

VLLM = TablePreferences.of_engine("vllm", "0.18.0")
MXFP4 = MoeExperts(1.0, 128, 128, 4, 2880, 1440, 3, Dtype.MXFP4)


def table(dtype: str, variant: str, operation: str = "moe") -> TableKey:
    return TableKey(operation, "h200_sxm", dtype, "vllm", "0.24.0", variant, False)


WIDE = table("mxfp4", "activations=bf16,kernel=oai_triton")
NARROW = table("mxfp4", "activations=mxfp8,kernel=trtllm")
MARLIN = table("int4", "kernel=marlin_experts")


@pytest.mark.parametrize(
    ("kernel", "read"),
    [("", [WIDE, NARROW]), ("mxfp8", [NARROW]), ("marlin", [MARLIN])],
)
def test_the_kernel_decides_which_tables_are_read(
    kernel: ExpertsKernel, read: list[TableKey]
) -> None:
    found = VLLM.with_experts(kernel)
    assert [key for key in (WIDE, NARROW, MARLIN) if found.rank(key, MXFP4) is not None] == read


def test_other_formats_and_products_do_not_ask_for_the_kernel() -> None:
    marlin = VLLM.with_experts("marlin")
    product = table("bf16", "", "gemm")
    assert marlin.rank(product, Gemm(1.0, 4096, 4096, Dtype.BF16)) is not None
    fp8 = MoeExperts(1.0, 128, 128, 4, 2880, 1440, 3, Dtype.FP8)
    assert marlin.rank(table("fp8", "kernel=triton"), fp8) is not None


def test_marlin_is_one_kernel_so_the_fastest_table_of_it_counts() -> None:
    assert "moe" in VLLM.with_experts("marlin").fastest
    assert "moe" not in VLLM.with_experts("mxfp8").fastest
