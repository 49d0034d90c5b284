"""The block arithmetic of the KV cache, against public start-up logs and by its laws."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servecast.primitives.dtype import Dtype
from servecast.primitives.kv_cache_geometry import (
    UNBOUNDED_TOKENS,
    KvCacheGeometry,
    kv_cache_geometry,
)
from servecast.primitives.model import (
    Attention,
    LatentAttention,
    LayerGroup,
    LinearAttention,
    Mixer,
    ModelSpec,
)
from servecast.primitives.sharding import Sharding

GIB = 1 << 30
LOG_ROUNDING_GIB = 0.005

OTHER_RANK = {
    "14": "the engine takes the least over ranks and the quoted GiB is another rank's",
    "19": "the engine takes the least over ranks, 1.1 % below the quoted rank",
}

MLA = LatentAttention(64, 1536, 512, 128, 64, 128)
GEMMA3_27B = ((52, Attention(32, 16, 128, window=1024)), (10, Attention(32, 16, 128)))


def spec(*layers: tuple[int, Mixer | None]) -> ModelSpec:
    groups = tuple(LayerGroup(count, mixer, None) for count, mixer in layers)
    return ModelSpec("toy", "Toy", 4096, 128256, False, 131072, Dtype.BF16, groups, "made up")


def geometry(
    *layers: tuple[int, Mixer | None],
    tp: int = 1,
    pp: int = 1,
    kv_cache_dtype: Dtype = Dtype.BF16,
    block_size: int = 16,
    in_flight_tokens: int = 8192,
) -> KvCacheGeometry:
    return kv_cache_geometry(
        spec(*layers),
        Sharding(tp, pp),
        kv_cache_dtype,
        block_size=block_size,
        in_flight_tokens=in_flight_tokens,
    )


def logged_rows(data_dir: Path) -> list[dict[str, str]]:
    """Start-up logs that state the memory for KV, the tokens and a plain geometry."""
    with (data_dir / "groundtruth" / "vllm_kv_capacity_logs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    needed = ("avail_kv_gib", "kv_tokens", "block", "L", "kv_heads", "head_dim", "tp")
    return [r for r in rows if r["kind"] in ("full", "mla") and all(r[name] for name in needed)]


def geometry_of(row: dict[str, str]) -> KvCacheGeometry:
    kv_heads, head_dim = int(row["kv_heads"]), int(row["head_dim"])
    plain = Attention(heads=8 * kv_heads, kv_heads=kv_heads, head_dim=head_dim)
    return geometry(
        (int(row["L"]), MLA if row["kind"] == "mla" else plain),
        tp=int(row["tp"]),
        kv_cache_dtype=Dtype(row["kv_dtype"]),
        block_size=int(row["block"]),
    )


def test_logged_tokens_are_reproduced_within_the_logs_own_rounding(data_dir: Path) -> None:
    rows = logged_rows(data_dir)
    missed: set[str] = set()
    for row in rows:
        cache, available = geometry_of(row), float(row["avail_kv_gib"])
        low, high = (
            cache.num_blocks((available + sign * LOG_ROUNDING_GIB) * GIB) * cache.block_size
            for sign in (-1, 1)
        )
        if not low <= int(row["kv_tokens"]) <= high:
            missed.add(row["id"])
    assert len(rows) >= 15
    assert missed == set(OTHER_RANK)


def test_logged_blocks_and_concurrency_are_reproduced(data_dir: Path) -> None:
    rows = [r for r in logged_rows(data_dir) if r["kv_blocks"] and r["max_conc"]]
    for row in rows:
        cache, blocks = geometry_of(row), int(row["kv_blocks"])
        assert blocks * cache.block_size == int(row["kv_tokens"])
        concurrency = cache.max_concurrency(blocks, int(row["max_model_len"]))
        assert abs(concurrency - float(row["max_conc"])) <= 0.01
    assert rows


def test_the_sliding_hybrid_of_gemma_3_27b_as_logged() -> None:
    """205,696 tokens, 50.05 requests of 4096: ten pages a block, seven groups, one pool."""
    cache = geometry(*GEMMA3_27B)
    assert len(cache.groups) == 7
    assert cache.bytes_per_block == 10 * 16 * 16 * 256 * 2
    blocks = cache.num_blocks(89_995 * cache.bytes_per_block + 7)
    assert blocks == 89_995
    assert blocks // len(cache.groups) * cache.block_size == 205_696
    assert cache.blocks_per_request(4096) == 256 + 6 * 257
    assert f"{cache.max_concurrency(blocks, 4096):.2f}" == "50.05"


@pytest.mark.parametrize(
    ("layers", "bytes_per_token"),
    [
        ((32, Attention(32, 8, 128)), 131_072),
        ((80, Attention(64, 8, 128)), 327_680),
        ((48, Attention(32, 4, 128)), 98_304),
        ((61, MLA), 70_272),
    ],
    ids=["Llama-8B", "Llama-70B", "Qwen3-30B-A3B", "DeepSeek-V3"],
)
def test_bytes_per_token_of_known_models(layers: tuple[int, Mixer], bytes_per_token: int) -> None:
    assert geometry(layers).bytes_per_token == bytes_per_token
    assert geometry(layers, kv_cache_dtype=Dtype.FP8).bytes_per_token == bytes_per_token / 2


def test_the_latent_costs_the_same_on_every_tensor_parallel_rank() -> None:
    assert geometry((61, MLA), tp=8) == geometry((61, MLA))


def test_sparse_attention_adds_the_indexers_key() -> None:
    sparse = LatentAttention(128, 1536, 512, 128, 64, 128, 2048, 64, 128)
    assert geometry((61, sparse)).bytes_per_token == 61 * (576 * 2 + 128 + 4)
    fp8 = geometry((61, sparse), kv_cache_dtype=Dtype.FP8)
    assert fp8.bytes_per_token == 61 * (656 + 132)


def test_full_layers_of_different_width_form_one_group() -> None:
    cache = geometry((10, Attention(32, 8, 128)), (2, Attention(32, 2, 128)))
    assert cache.is_uniform
    assert cache.bytes_per_block == 16 * 256 * 2 * (10 * 8 + 2 * 2)


def test_kinds_of_almost_equal_number_are_padded_to_the_commonest() -> None:
    layers = ((12, Attention(64, 8, 64, window=128)), (13, Attention(64, 8, 64)))
    cache = geometry(*layers)
    assert [group.layers for group in cache.groups] == [12, 13]
    assert cache.bytes_per_block == 13 * 16 * 8 * 128 * 2


def test_narrow_pages_take_more_tokens() -> None:
    cache = geometry((10, Attention(32, 8, 128, window=512)), (10, Attention(32, 2, 128)))
    assert [(group.kind, group.block_tokens) for group in cache.groups] == [
        ("window", 16),
        ("full", 64),
    ]


def test_a_recurrent_hybrid_enlarges_the_block_and_takes_a_block_per_state() -> None:
    linear = LinearAttention(projection_params=1, state_elements=530_000)
    cache = geometry((36, linear), (12, Attention(16, 2, 256)))
    tokens = cache.groups[-1].block_tokens
    assert tokens == 16 * 65
    assert tokens * 2 * 512 * 2 >= 530_000 * 4 > (tokens - 16) * 2048
    assert cache.bytes_per_block == 12 * tokens * 2048
    assert [group.kind for group in cache.groups] == ["state"] * 3 + ["full"]
    assert cache.blocks_per_request(1) == 4
    assert cache.blocks_per_request(tokens + 1) == 5


def test_equivalent_blocks_hold_as_many_requests_as_the_hybrid() -> None:
    cache = geometry(*GEMMA3_27B)
    assert cache.equivalent_blocks(89_995, 4096) == 89_995 * 256 // 1798
    assert cache.equivalent_blocks(89_995, 16) == 89_995 // (1 + 6 * 2)


def test_a_model_of_states_alone_has_no_longest_request() -> None:
    cache = geometry((10, LinearAttention(1, 1000)))
    assert cache.bytes_per_block == 40_000
    assert cache.longest_request(1) == UNBOUNDED_TOKENS
    assert cache.longest_request(0) == 0


def test_layers_of_a_model_without_cache_cost_nothing() -> None:
    assert geometry((10, None)).blocks_per_request(1000) == 0


def test_stages_hold_their_part_of_every_group() -> None:
    assert geometry((61, MLA), pp=2).bytes_per_token == 31 * 1152
    assert geometry(*GEMMA3_27B, pp=2).bytes_per_block == 5 * 16 * 16 * 256 * 2


@given(tokens=st.integers(1, 200_000), blocks=st.integers(1, 100_000))
def test_a_plain_request_holds_its_tokens_rounded_up(tokens: int, blocks: int) -> None:
    cache = geometry((32, Attention(32, 8, 128)))
    assert cache.blocks_per_request(tokens) == -(-tokens // 16)
    assert cache.longest_request(blocks) == blocks * 16
    assert cache.equivalent_blocks(blocks, tokens) == blocks


@given(
    tokens=st.integers(1, 100_000),
    longer=st.integers(0, 100_000),
    blocks=st.integers(1_000, 1_000_000),
)
def test_equivalent_blocks_of_a_short_request_are_safe_for_longer_ones(
    tokens: int, longer: int, blocks: int
) -> None:
    cache = geometry(*GEMMA3_27B)
    plain = cache.equivalent_blocks(blocks, tokens)
    fit = blocks / cache.blocks_per_request(tokens + longer)
    assert plain / -(-(tokens + longer) // 16) <= fit * (1 + 16 / tokens) + 1e-9


@given(kv_heads=st.sampled_from([1, 2, 4, 8]), double=st.integers(0, 4))
def test_doubling_the_ranks_halves_the_page_until_one_kv_head_is_left(
    kv_heads: int, double: int
) -> None:
    tp = 2**double
    attention = (32, Attention(64, kv_heads, 128))
    now, then = (geometry(attention, tp=size).bytes_per_block for size in (tp, 2 * tp))
    assert then == (now // 2 if tp < kv_heads else now)


@given(
    available=st.integers(0, 200 * GIB),
    more=st.integers(0, 200 * GIB),
    hybrid=st.booleans(),
)
def test_more_memory_never_gives_fewer_blocks(available: int, more: int, hybrid: bool) -> None:
    cache = geometry(*GEMMA3_27B) if hybrid else geometry((32, Attention(32, 8, 128)))
    assert cache.num_blocks(available) <= cache.num_blocks(available + more)
    assert cache.num_blocks(-available) == 0


@given(tokens=st.integers(1, 100_000), blocks=st.integers(1, 100_000))
def test_the_longest_request_fits_and_one_token_more_does_not(tokens: int, blocks: int) -> None:
    cache = geometry(*GEMMA3_27B)
    longest = cache.longest_request(blocks)
    assert longest == 0 or cache.blocks_per_request(longest) <= blocks
    assert cache.blocks_per_request(longest + 1) > blocks
    assert (tokens <= longest) == (cache.blocks_per_request(tokens) <= blocks)
