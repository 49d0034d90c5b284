"""What the timed kernels compute: what they leave out or fuse, they do not get wrong."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from servecast.primitives.cost_table import TableKey
from servecast.profiler import torch_varlen
from servecast.profiler.probe import Probe
from servecast.profiler.torch_kernels import kernel_of
from servecast.profiler.torch_sparse import picked
from servecast.profiler.torch_tensors import Kernel

pytestmark = [pytest.mark.slow, pytest.mark.engine(name="torch")]  # PyTorch comes with the engine

Tensors = list[Any]


@pytest.fixture
def torch() -> Any:
    found = pytest.importorskip("torch")
    found.manual_seed(0)
    return found


def kernel(operation: str, point: tuple[int, ...], variant: str = "kernel=sdpa") -> Kernel:
    return kernel_of(
        Probe(TableKey(operation, "h200_sxm", "fp32", "servecast", "1", variant), point)
    )


def filled(torch: Any, kernel: Kernel) -> tuple[Tensors, Tensors, Tensors]:
    """Hot, made and cold tensors, with numbers that differ."""
    hot, cold = ([torch.randn(shape) for shape in shapes] for shapes in (kernel.hot, kernel.cold))
    return hot, list(kernel.made(torch, "cpu")) if kernel.made else [], cold


def run(torch: ModuleType, kernel: Kernel, hot: Tensors, cold: Tensors) -> Any:
    made = kernel.made(torch, "cpu") if kernel.made else ()
    return kernel.call(torch, [*hot, *made, *cold])


def reference(torch: Any, tensors: Sequence[Any], seen: Any) -> Any:
    """Attention by its formula; `seen` has a row a query and a column a key."""
    query, key, value = tensors
    heads = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(heads, 1) for each in (key, value))
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    return scores.masked_fill(~seen, float("-inf")).softmax(-1) @ value


def causal(torch: Any, rows: int, columns: int, window: int = 10**9) -> Any:
    """Each row sees the columns up to its own, the last row's being the last."""
    at = torch.arange(rows)[:, None] + columns - rows
    column = torch.arange(columns)[None]
    return (column <= at) & (column > at - window)


def same(torch: Any, one: Any, other: Any) -> bool:
    return bool(torch.allclose(one, other, atol=1e-4))


@pytest.mark.parametrize("past", [0, 24])
def test_a_chunk_sees_its_past_and_no_later_token(torch: Any, past: int) -> None:
    chunk = kernel("prefill_attention", (1, 8, past, 4, 2, 16, 0))
    (query,), _, (key, value) = filled(torch, chunk)
    expected = reference(torch, (query, key, value), causal(torch, 8, 8 + past))
    assert same(torch, run(torch, chunk, [query], [key, value]), expected)


def test_a_decode_reads_every_cached_token_of_its_own_kv_head(torch: Any) -> None:
    alone = kernel("decode_attention", (3, 9, 4, 2, 16, 0))
    (query,), _, (key, value) = filled(torch, alone)
    expected = reference(torch, (query, key, value), causal(torch, 1, 9))
    assert same(torch, run(torch, alone, [query], [key, value]), expected)


def test_a_windowed_decode_reads_no_more_than_the_window() -> None:
    alone = kernel("decode_attention", (3, 90, 4, 2, 16, 32))
    assert alone.cold == ((3, 2, 32, 16), (3, 2, 32, 16))


def test_each_query_of_a_verification_sees_the_drafts_before_it(torch: Any) -> None:
    verify = kernel("verify_attention", (3, 4, 20, 4, 2, 16, 0))
    (query,), _, (key, value) = filled(torch, verify)
    assert query.shape == (3, 4, 4, 16)
    expected = reference(torch, (query, key, value), causal(torch, 4, 20))
    assert same(torch, run(torch, verify, [query], [key, value]), expected)


@pytest.mark.parametrize(("new", "past"), [(300, 0), (300, 40), (7, 400)])
def test_a_window_hides_what_lies_further_back(torch: Any, new: int, past: int) -> None:
    windowed = kernel("prefill_attention", (1, new, past, 2, 1, 16, 50), "kernel=sdpa_chunks")
    (query,), _, (key, value) = filled(torch, windowed)
    assert key.shape[2] == new + min(past, 49)
    expected = reference(torch, (query, key, value), causal(torch, new, key.shape[2], 50))
    assert same(torch, run(torch, windowed, [query], [key, value]), expected)


def test_a_mixed_step_is_its_chunk_and_its_decodes(torch: Any) -> None:
    mixed = kernel("mixed_attention", (6, 10, 3, 20, 4, 2, 16))
    (query, ones), _, cold = filled(torch, mixed)
    chunk, decodes = run(torch, mixed, [query, ones], cold)
    assert same(torch, chunk, reference(torch, (query, *cold[:2]), causal(torch, 6, 16)))
    assert same(torch, decodes, reference(torch, (ones, *cold[2:]), causal(torch, 1, 20)))


@pytest.mark.parametrize(
    ("operation", "point"),
    [("prefill_attention", (1, 6, 10, 4, 2, 16, 5)), ("mixed_attention", (6, 10, 3, 20, 4, 2, 16))],
)
def test_flash_attention_is_asked_for_the_same(
    torch: Any, operation: str, point: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernel runs on CUDA alone: here its arguments go to the formula."""

    def varlen_attn(
        query: Any, key: Any, value: Any, ends: Any, key_ends: Any, longest: int, longest_key: int,
        *, window_size: tuple[int, int], enable_gqa: bool,
    ) -> Any:  # fmt: skip
        out: list[Any] = []
        assert (longest, longest_key) == (ends.diff().max(), key_ends.diff().max())
        window = window_size[0] + 1 or 10**9
        assert (window_size[1], enable_gqa) == (0, True)
        spans = zip(ends[:-1], ends[1:], key_ends[:-1], key_ends[1:], strict=True)
        for start, end, key_start, key_end in spans:
            own = (query[start:end], key[key_start:key_end], value[key_start:key_end])
            ready = [each.transpose(0, 1)[None] for each in own]
            seen = causal(torch, int(end - start), int(key_end - key_start), window)
            out.append(reference(torch, ready, seen))
        return out

    module = SimpleNamespace(varlen_attn=varlen_attn)
    monkeypatch.setitem(sys.modules, torch_varlen.MODULE, module)
    flash = kernel(operation, point, "kernel=flash_varlen")
    (query,), _, (key, value) = filled(torch, flash)
    outs: Sequence[Any] = run(torch, flash, [query], [key, value])
    first = query[:6].transpose(0, 1)[None]
    count = 6 + (10 if operation == "mixed_attention" else 4)
    keys = [each[:count].transpose(0, 1)[None] for each in (key, value)]
    window = 5 if operation == "prefill_attention" else 10**9
    assert same(torch, outs[0], reference(torch, (first, *keys), causal(torch, 6, count, window)))
    assert len(outs) == (4 if operation == "mixed_attention" else 1)


def test_a_row_picks_its_own_block_and_its_share_of_the_earlier_ones() -> None:
    assert picked(0, 5) == [0]
    assert picked(9, 100) == list(range(10))
    assert picked(9, 50) == [0, 2, 4, 6, 9]
    assert len(picked(255, 20)) == 52


@pytest.mark.parametrize("density", [10, 50, 100])
def test_picked_blocks_are_attended_to_and_no_others(torch: Any, density: int) -> None:
    gathered = kernel("block_sparse_attention", (6 * 16, density, 4, 2, 8, 16), "kernel=gathered")
    (query,), _, (key, value) = filled(torch, gathered)
    flat = [each.flatten(2, 3) for each in (query, key, value)]
    expected = reference(torch, flat, _blocks(torch, density))
    assert same(torch, run(torch, gathered, [query], [key, value]).flatten(2, -2), expected)


@pytest.mark.parametrize("density", [10, 50, 100])
def test_flex_attention_is_given_the_same_blocks(torch: Any, density: int) -> None:
    flex = kernel("block_sparse_attention", (6 * 16, density, 4, 2, 8, 16), "kernel=flex")
    _, (mask, _), _ = filled(torch, flex)
    rows = mask.to_dense()[0, 0].bool()
    assert [row.nonzero().flatten().tolist() for row in rows] == [
        sorted(set(picked(row, density))) for row in range(6)
    ]
    assert mask.kv_num_blocks.flatten().tolist() == [1] * 6, "the diagonal alone is masked inside"


def test_flex_attention_over_all_blocks_is_causal(torch: Any) -> None:
    """Not compiled, which takes a compiler of the machine's; it then reads no blocks."""
    library = importlib.import_module("torch.nn.attention.flex_attention")
    flex = kernel("block_sparse_attention", (6 * 16, 100, 4, 2, 8, 16), "kernel=flex")
    (query,), (mask, _), (key, value) = filled(torch, flex)
    out = flex.call(torch, [query, mask, library.flex_attention, key, value])
    assert same(torch, out, reference(torch, (query, key, value), causal(torch, 96, 96)))


def _blocks(torch: Any, density: int) -> Any:
    seen = torch.zeros(96, 96, dtype=torch.bool)
    for row in range(6):
        for block in picked(row, density):
            seen[row * 16 : row * 16 + 16, block * 16 : block * 16 + 16] = True
    return seen & causal(torch, 96, 96)


def test_absorbed_heads_share_one_latent(torch: Any) -> None:
    decode = kernel("mla_decode", (2, 7, 16))
    (query,), _, (latent,) = filled(torch, decode)
    assert latent.shape == (2, 1, 7, 576)
    every = torch.ones(16, 7, dtype=torch.bool)
    expected = reference(torch, (query, latent, latent[..., :512]), every)
    assert same(torch, run(torch, decode, [query], [latent]), expected)


def test_latent_prompts_have_narrow_values(torch: Any) -> None:
    prompt = kernel("mla_prefill", (1, 5, 6, 3))
    (query,), _, (key, value) = filled(torch, prompt)
    assert (key.shape, value.shape) == ((1, 3, 11, 192), (1, 3, 11, 128))
    expected = reference(torch, (query, key, value), causal(torch, 5, 11))
    assert same(torch, run(torch, prompt, [query], [key, value]), expected)


@pytest.mark.parametrize("ranks", [1, 4])
def test_grouped_and_looped_experts_agree_with_the_formula(torch: Any, ranks: int) -> None:
    point = (24, 32, 16, 2, 8, 1, ranks)
    traits = "distribution=power_law_1.2,kernel="
    kernels = [kernel("moe", point, traits + name) for name in ("expert_loop", "grouped_mm")]
    (x,), (rows, _, counts), (up, down) = filled(torch, kernels[0])
    outs = [run(torch, each, [x], [up, down]) for each in kernels]
    expected, start = torch.zeros_like(x), 0
    for expert, count in enumerate(counts):
        own = rows[start : start + count]
        gate, inner = (x[own] @ up[expert].T).chunk(2, -1)
        expected.index_add_(0, own, torch.nn.functional.silu(gate) * inner @ down[expert].T / 2)
        start += count
    assert start == sum(counts) <= 48
    assert all(same(torch, out, expected) for out in outs)


def test_experts_without_a_gate_have_two_matrices(torch: Any) -> None:
    traits = "distribution=balanced,kernel=expert_loop_nongated"
    own = kernel("moe", (4, 32, 16, 2, 8, 1, 1), traits)
    assert own.cold == ((8, 16, 32), (8, 32, 16))
    (x,), _, cold = filled(torch, own)
    assert run(torch, own, [x], cold).shape == (4, 32)


def test_scaled_products_are_products(torch: Any) -> None:
    product = kernel("gemm", (16, 32, 64), "kernel=scaled_mm")
    (x,), _, (weights,) = filled(torch, product)
    narrow = [each.to(torch.float8_e4m3fn) for each in (x, weights)]
    out = run(torch, product, narrow[:1], narrow[1:]).float()
    expected = narrow[0].float() @ narrow[1].float().T
    assert bool(torch.allclose(out, expected, rtol=1e-2, atol=0.1))


def test_a_copy_in_pieces_copies_all_of_it(torch: Any) -> None:
    copy = kernel("host_copy", (4096, 4), "direction=to_device,kernel=copy")
    _, (source, target), _ = filled(torch, copy)
    source.random_()
    copy.call(torch, [source, target])
    assert bool(torch.equal(source, target))
    assert tuple(source.shape) == (4, 1024)


class TestModelStep:
    """A verification is so many decode steps at once: the same tokens come out."""

    LAYERS, HIDDEN, VOCAB, CONTEXT = 3, 32, 50, 12

    def step(self, queries: int, context: int, layers: int = LAYERS) -> Kernel:
        point = (2, queries, context, layers, self.HIDDEN, 4, 2, 8, 64, self.VOCAB)
        return kernel("model_step", point)

    def test_it_picks_a_token_for_every_query(self, torch: Any) -> None:
        step = self.step(4, self.CONTEXT)
        _, _, cold = filled(torch, step)
        picked_tokens = run(torch, step, [], cold)
        assert tuple(picked_tokens.shape) == (2, 4)
        assert 0 <= int(picked_tokens.min()) <= int(picked_tokens.max()) < self.VOCAB

    def test_verifying_is_decoding_one_after_the_other(self, torch: Any) -> None:
        whole, alone = self.step(2, self.CONTEXT), self.step(1, self.CONTEXT)
        _, made, cold = filled(torch, whole)
        ids, cos, sin, _ = made
        both: Any = whole.call(torch, [*made, *cold])
        last = alone.call(torch, [ids[:, 1:], cos[1:], sin[1:], *cold])  # the cache is written
        assert bool(torch.equal(both[:, 1:], last))

    def test_a_step_that_skips_layers_reads_fewer_weights(self) -> None:
        whole, skipped = self.step(1, self.CONTEXT), self.step(1, self.CONTEXT, 1)
        assert len(whole.cold) - len(skipped.cold) == 2 * 8
