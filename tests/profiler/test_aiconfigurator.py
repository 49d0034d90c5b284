"""What the import takes from an AIConfigurator database, and the traps that it steps around."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from servecast.errors import InputError
from tests.aic_database import Database, all_reduce, attention, experts, gemm


@pytest.fixture
def database(tmp_path: Path) -> Database:
    pytest.importorskip("pyarrow")
    return Database(tmp_path)


def test_latency_is_in_milliseconds(database: Database) -> None:
    database.add("gemm_perf", [gemm(1, 0.012), gemm(16, 0.02)])
    table = database.only()
    assert table.points.tolist() == [[1, 4096, 4096], [16, 4096, 4096]]
    assert table.seconds == pytest.approx([12e-6, 20e-6])
    assert (table.key.operation, table.key.device, table.key.dtype) == ("gemm", "h200_sxm", "bf16")
    assert (table.key.source, table.key.version) == ("vllm", "0.24.0")
    assert table.origin == "AIConfigurator h200_sxm/gemm/vllm/0.24.0/gemm_perf.parquet"


def test_repeats_are_averaged_and_their_range_is_the_spread(database: Database) -> None:
    database.add("gemm_perf", [gemm(1, 0.010), gemm(1, 0.012), gemm(2, 0.01)])
    table = database.only()
    assert table.seconds == pytest.approx([11e-6, 10e-6])
    assert table.spread[0] == pytest.approx(1 / 11)
    assert np.isnan(table.spread[1]), "measured once: nothing is known of its spread"


def test_number_formats_keep_what_tells_them_apart(database: Database) -> None:
    formats = ("fp8", "fp8_block", "int4_wo", "nvfp4")
    database.add("gemm_perf", [gemm(1, gemm_dtype=name) for name in formats], source="sglang")
    assert {(table.key.dtype, table.key.variant) for table in database.tables()} == {
        ("fp8", "kernel=cublas"),
        ("fp8", "scaling=block,kernel=cublas"),
        ("int4", "activations=bf16,kernel=cublas"),
        ("nvfp4", "kernel=cublas"),
    }


def test_a_format_that_is_not_known_is_refused_with_its_file(database: Database) -> None:
    path = database.add("gemm_perf", [gemm(1, gemm_dtype="fp3")])
    with pytest.raises(InputError, match=r"number format `fp3` is unknown") as caught:
        database.tables()
    assert str(path) in caught.value.message


def test_block_scaled_products_of_vllm_were_timed_without_graphs(database: Database) -> None:
    rows = [gemm(1, 0.055, gemm_dtype="fp8_block"), gemm(1, 0.004, gemm_dtype="fp8")]
    database.add("gemm_perf", rows)
    database.add("gemm_perf", [gemm(1, 0.0033, gemm_dtype="fp8_block")], source="sglang")
    eager = {(t.key.source, t.key.variant): t.key.is_eager for t in database.tables()}
    assert eager == {
        ("vllm", "scaling=block,kernel=cublas"): True,
        ("vllm", "kernel=cublas"): False,
        ("sglang", "scaling=block,kernel=cublas"): False,
    }


def test_prefill_has_no_past_and_the_window_of_old_tables_is_none(database: Database) -> None:
    database.add("context_attention_perf", [attention(512, 0)], family="attention")
    table = database.only()
    assert table.key.operation == "prefill_attention"
    assert table.key.traits == {"kv": "fp8", "kernel": "fa3"}
    assert table.points.tolist() == [[4, 512, 0, 32, 8, 128, 0]]


def test_the_context_of_a_decode_is_its_token_and_the_step(database: Database) -> None:
    rows = [attention(1, 4095, window_size=0), attention(1, 4095, window_size=128)]
    database.add("generation_attention_perf", rows, family="attention")
    table = database.only()
    assert table.key.operation == "decode_attention"
    assert table.points.tolist() == [[4, 4096, 32, 8, 128, 0], [4, 4096, 32, 8, 128, 128]]


def test_routing_is_a_trait_and_the_width_is_a_whole_expert(database: Database) -> None:
    skewed = experts(64, distribution="power_law_1.2", moe_tp_size=4, moe_ep_size=2)
    database.add("moe_perf", [experts(64), skewed])
    even, uneven = sorted(database.tables(), key=lambda table: table.key.variant)
    assert even.key.traits == {"distribution": "balanced", "kernel": "triton"}
    assert uneven.key.traits["distribution"] == "power_law_1.2"
    assert uneven.points.tolist() == [[64, 2048, 768, 8, 128, 4, 2]]


def test_graph_and_eager_reductions_stay_apart(database: Database) -> None:
    kernels = {"vLLM_custom_graph": 0.0044, "vLLM_custom_eager": 0.0208}
    rows = [all_reduce(128, kernel, latency) for kernel, latency in kernels.items()]
    database.add("custom_allreduce_perf", rows, family="comm")
    graph, eager = sorted(database.tables(), key=lambda table: table.key.is_eager)
    assert (graph.key.is_eager, eager.key.is_eager) == (False, True)
    assert graph.seconds == pytest.approx([4.4e-6])
    assert eager.seconds == pytest.approx([20.8e-6])
    assert graph.points.tolist() == [[128, 8]], "elements, as the table has them"


def test_collectives_of_libraries_come_from_their_own_folder(database: Database) -> None:
    row = {"kernel_source": "NCCL", "nccl_dtype": "half", "num_gpus": 4, "message_size": 1024}
    rows = [row | {"op_name": name, "latency": 0.01} for name in ("alltoall", "all_gather")]
    database.add("nccl_perf", rows, family="comm", source="nccl", version="2.29.2")
    database.add("nccl_perf", rows, family="comm", source="trtllm")
    tables = database.tables()
    assert [table.key.operation for table in tables] == ["all_gather", "all_to_all"]
    assert {(table.key.source, table.key.dtype) for table in tables} == {("nccl", "fp16")}


def test_the_products_around_latent_attention_differ(database: Database) -> None:
    row = {"kernel_source": "bmm", "bmm_dtype": "bfloat16", "num_tokens": 8, "num_heads": 16}
    names = ("mla_gen_pre", "mla_gen_post")
    rows = [row | {"op_name": name, "latency": place} for place, name in enumerate(names, 1)]
    database.add("mla_bmm_perf", rows, source="sglang")
    seconds = {t.key.traits["part"]: t.seconds.tolist() for t in database.tables()}
    assert seconds == {"pre": [1e-3], "post": [2e-3]}


def test_a_module_of_latent_attention_says_its_model(database: Database) -> None:
    row = {
        **{"kernel_source": "FLASHMLA", "mla_dtype": "bfloat16", "kv_cache_dtype": "bfloat16"},
        **{"gemm_type": "fp8_block", "model": "deepseek-ai/DeepSeek-V3", "num_heads": 16},
        **{"batch_size": 2, "isl": 1, "tp_size": 1, "step": 128, "latency": 0.1},
    }
    database.add("mla_generation_module_perf", [row], family="mla")
    table = database.only()
    assert table.key.operation == "mla_decode_module"
    assert table.key.variant == (
        "kv=bf16,gemm=fp8,scaling=block,model=deepseek-ai/DeepSeek-V3,kernel=FLASHMLA"
    )
    assert table.points.tolist() == [[2, 129, 16]]


def test_a_module_of_sparse_attention_says_its_model_by_its_width(database: Database) -> None:
    row = {
        **{"kernel_source": "trtllm", "mla_dtype": "bfloat16", "kv_cache_dtype": "fp8"},
        **{"gemm_type": "fp8_block", "model": "zai-org/GLM-5-FP8", "num_heads": 8},
        **{"architecture": "GlmMoeDsaForCausalLM", "op_name": "dsa_context_module"},
        **{"batch_size": 1, "isl": 4096, "tp_size": 8, "step": 2048, "latency": 1.5},
    }
    reuser = row | {"op_name": "dsa_context_module_skip_indexer", "latency": 0.5}
    family = "sparse_attention"
    database.add("dsa_context_module_perf", [row, reuser], family=family, source="sglang")
    table = database.only()
    assert table.key.operation == "dsa_prefill_module"
    assert table.key.variant == "kv=fp8,gemm=fp8,scaling=block,kernel=trtllm"
    assert table.points.tolist() == [[1, 4096, 2048, 8, 6144]]
    assert table.seconds.tolist() == [1.5e-3]


def test_of_gated_delta_nets_the_rule_over_a_prompt_is_taken(database: Database) -> None:
    row = {
        **{"kernel_source": "chunk_gated_delta_rule", "phase": "context", "batch_size": 1},
        **{"seq_len": 2048, "num_k_heads": 4, "num_v_heads": 16, "head_k_dim": 128},
        **{"head_v_dim": 128, "latency": 0.1},
    }
    others = [row | {"kernel_source": name} for name in ("causal_conv1d_fn", "fused_recurrent")]
    database.add("gdn_perf", [row, *others], family="linear_attention", source="sglang")
    table = database.only()
    assert table.key.operation == "delta_rule"
    assert table.points.tolist() == [[1, 2048, 4, 16, 128, 128]]


def test_sending_to_experts_is_in_microseconds_even_in_latency(database: Database) -> None:
    row = {
        **{"kernel_source": "deepep", "comm_backend": "deepep_ll", "comm_dtype": "default"},
        **{"ep_size": 8, "node_num": 1, "hidden_size": 7168, "topk": 8, "num_experts": 256},
        **{"num_tokens": 128, "sms": 20, "phase": "combine"},
        **{"transmit_us": 60.0, "notify_us": 1.5, "latency": 61.5},
    }
    database.add("moe_a2a_perf", [row], family="comm")
    table = database.only()
    assert table.key.operation == "moe_combine"
    assert table.key.traits == {"mode": "deepep_ll", "sms": "20", "kernel": "deepep"}
    assert table.points.tolist() == [[128, 7168, 8, 256, 8, 1]]
    assert table.seconds == pytest.approx([61.5e-6])


def test_wide_tables_count_nodes_and_have_both_directions(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    database = Database(tmp_path, gpus_per_node=4)
    row = {
        **{"kernel_source": "deepep", "node_num": 2, "hidden_size": 7168, "num_token": 16},
        **{"num_topk": 8, "num_experts": 256, "dispatch_sms": 20, "combine_sms": 24},
        **{"dispatch_transmit_us": 30.0, "dispatch_notify_us": 5.0},
        **{"combine_transmit_us": 40.0, "combine_notify_us": 6.0},
    }
    database.add("wideep_deepep_normal_perf", [row], family="comm", source="sglang")
    combine, dispatch = database.tables()
    assert dispatch.seconds == pytest.approx([35e-6])
    assert combine.seconds == pytest.approx([46e-6])
    assert dispatch.points.tolist() == [[16, 7168, 8, 256, 8, 2]]
    assert (dispatch.key.traits["sms"], combine.key.traits["sms"]) == ("20", "24")


def test_only_what_is_asked_for_is_imported(database: Database) -> None:
    database.add("gemm_perf", [gemm(1)])
    database.add("gemm_perf", [gemm(1)], source="sglang")
    database.add("moe_perf", [experts(1)])
    asked = database.tables(sources=["vllm"], families=["gemm"])
    assert [(t.key.operation, t.key.source) for t in asked] == [("gemm", "vllm")]
    assert len(database.tables()) == 3


def test_devices_go_by_their_names_in_the_catalogue(database: Database) -> None:
    database.add("gemm_perf", [gemm(1)], system="a100_sxm", version="0.14.0")
    assert database.only("A100").key.device == "a100_sxm_80gb"
