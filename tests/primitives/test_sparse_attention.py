"""Sparse latent attention: priced as the module that was measured, or by its parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from servecast.errors import UnsupportedError
from servecast.primitives.chained_source import ChainedSource
from servecast.primitives.cost import Cost, Provenance
from servecast.primitives.cost_store import CostStore
from servecast.primitives.cost_table import CostTable, cost_table
from servecast.primitives.dtype import Dtype
from servecast.primitives.ideal_time import ideal_s
from servecast.primitives.latent_operations import latent_decode, latent_prefill
from servecast.primitives.measured_table import MeasuredTables
from servecast.primitives.model import LatentAttention
from servecast.primitives.operations import Gemm, Quantity, SparseAttention
from servecast.primitives.roofline import RooflineSource
from servecast.primitives.table_preferences import TablePreferences
from servecast.primitives.table_source import TableSource
from tests.synthetic_tables import gemm_table, key
from tests.toy_deployments import DEVICE

HIDDEN, HEADS = 6144, 8
DSA = LatentAttention(HEADS, 2048, 512, 192, 64, 256, 2048, 32, 128)
SHAPES = ((2624, HIDDEN), (2048, 2048))
MODULE_S = 100e-6


def products(tokens: Quantity) -> tuple[Gemm, ...]:
    return tuple(Gemm(tokens, n, k, Dtype.BF16) for n, k in SHAPES)


def decode(sequences: int, context: Quantity) -> SparseAttention:
    found = latent_decode(DSA, sequences, context, Dtype.FP8, products(float(sequences)))
    assert isinstance(found, SparseAttention)
    return found


def prefill(new_tokens: Quantity, past_tokens: Quantity = 0.0) -> SparseAttention:
    (found,) = latent_prefill(DSA, new_tokens, past_tokens, Dtype.FP8, products(new_tokens))
    assert isinstance(found, SparseAttention)
    return found


def modules() -> list[CostTable]:
    """Modules of one layer, in microseconds 100 + 2 a sequence or a token."""
    of = {"variant": "kv=fp8,gemm=bf16"}
    decodes = [(b, c, HEADS, HIDDEN) for b in (1, 16, 64) for c in (1024, 4096, 16384)]
    prefills = [(1, n, p, HEADS, HIDDEN) for n in (1024, 4096, 8192) for p in (0, 4096)]
    return [
        cost_table(key(name, **of), np.array(rows), MODULE_S + rate * np.array(rows)[:, column])
        for name, rows, rate, column in (
            ("dsa_decode_module", decodes, 2e-6, 0),
            ("dsa_prefill_module", prefills, 2e-6, 1),
        )
    ]


def tables(*held: CostTable) -> TableSource:
    measured = MeasuredTables(CostStore([gemm_table(SHAPES), *held]))
    return TableSource(measured, TablePreferences.of_engine("vllm", "0.24.0"))


def price(source: TableSource | ChainedSource, operation: SparseAttention) -> Cost:
    return source.cost(operation, DEVICE)


def products_s(source: TableSource, tokens: Quantity) -> Quantity:
    return sum((source.cost(each, DEVICE).seconds for each in products(tokens)), 0.0)


def test_sparse_attention_and_its_layer_s_products_take_what_the_module_took() -> None:
    found = tables(*modules())
    for operation, tokens, module_s in (
        (decode(16, 4096.0), 16.0, MODULE_S + 32e-6),
        (prefill(8192.0), 8192.0, MODULE_S + 16384e-6),
        (prefill(1024.0, 4096.0), 1024.0, MODULE_S + 2048e-6),
    ):
        cost = price(found, operation)
        together = float(cost.seconds) + float(products_s(found, tokens))
        assert together == pytest.approx(module_s, rel=1e-9)
        assert cost.provenance is Provenance.MEASURED


def test_a_longer_context_takes_no_less_and_no_module_less_than_its_reads() -> None:
    found = tables(*modules())
    contexts = np.arange(1.0, 60_000.0, 97.0)
    seconds = np.asarray(price(found, decode(12, contexts)).seconds)
    assert np.all(np.diff(seconds) >= 0)
    assert np.all(seconds >= ideal_s(decode(12, contexts).attended, DEVICE))


def test_without_a_module_the_parts_are_priced_one_by_one() -> None:
    chain, roofline = ChainedSource([tables(), RooflineSource()]), RooflineSource()
    for operation in (decode(16, 4096.0), prefill(4096.0, 4096.0)):
        with pytest.raises(UnsupportedError):
            price(tables(), operation)
        parts = sum(float(roofline.cost(part, DEVICE).seconds) for part in operation.parts)
        assert float(price(chain, operation).seconds) == pytest.approx(parts, rel=1e-12)
        assert float(roofline.cost(operation, DEVICE).seconds) == pytest.approx(parts, rel=1e-12)


def test_a_layer_that_uses_earlier_picks_has_no_indexer_and_no_module() -> None:
    reuser = replace(decode(16, 4096.0), indexer=None)
    assert reuser.parts == (reuser.attended,)
    with pytest.raises(UnsupportedError):
        price(tables(*modules()), reuser)


def test_the_work_is_that_of_the_indexer_over_all_and_the_attention_over_what_it_picks() -> None:
    operation = decode(4, 10_000.0)
    attended = 2 * 4 * 2048 * HEADS * (576 + 512)
    assert operation.flops == attended + 2 * 4 * 10_000 * 32 * 128
    assert operation.bytes == 4 * 2048 * 576 + 4 * 10_000 * 128
    assert operation.hidden == HIDDEN


def test_modules_of_a_model_of_another_width_say_nothing() -> None:
    other = replace(decode(16, 4096.0), products=(Gemm(16.0, 2112, 7168, Dtype.BF16),))
    with pytest.raises(UnsupportedError):
        price(tables(*modules()), other)
