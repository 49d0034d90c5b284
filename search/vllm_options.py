"""The options of `vllm serve` 0.32.0: what each one takes, and whether it can change a schedule.

Names and arities as the engine's own parser lists them (`entrypoints/launchers/cli_args.py`,
`engine/arg_utils.py`). Which ones are harmless is servecast's judgement: they touch the protocol,
logs, loading, or the inputs of other modalities, and neither the schedule nor a step's duration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Arity = Literal["flag", "value", "list", "optional"]


@dataclass(frozen=True, slots=True)
class VllmOption:
    """One option: its long name, what follows it, and whether a simulation may ignore it."""

    name: str
    arity: Arity
    harmless: bool
    is_on_by_default: bool = False


SHORT_FORMS = {
    "-ac": "--attention-config",
    "-asc": "--api-server-count",
    "-cc": "--compilation-config",
    "-dc": "--diffusion-config",
    "-dcp": "--decode-context-parallel-size",
    "-dp": "--data-parallel-size",
    "-dpa": "--data-parallel-address",
    "-dpb": "--data-parallel-backend",
    "-dpe": "--data-parallel-external-lb",
    "-dph": "--data-parallel-hybrid-lb",
    "-dpl": "--data-parallel-size-local",
    "-dpm": "--data-parallel-multi-port-external-lb",
    "-dpn": "--data-parallel-rank",
    "-dpp": "--data-parallel-rpc-port",
    "-dpr": "--data-parallel-start-rank",
    "-ep": "--enable-expert-parallel",
    "-n": "--nnodes",
    "-O": "--optimization-level",
    "-pcp": "--prefill-context-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-q": "--quantization",
    "-r": "--node-rank",
    "-sc": "--speculative-config",
    "-tp": "--tensor-parallel-size",
    "--device-memory-utilization": "--gpu-memory-utilization",
}
"""Other spellings of an option."""

_HARMLESS_FLAGS = """
    aggregate-engine-logging allow-credentials allow-deprecated-quantization
    cohere-is-reasoning-model cudagraph-metrics disable-fastapi-docs disable-log-stats
    disable-uvicorn-access-log enable-auto-tool-choice enable-flash-late-interaction
    enable-flashinfer-autotune enable-force-include-usage enable-log-deltas enable-log-outputs
    enable-log-requests enable-logging-iteration-details enable-mfu-metrics enable-mm-embeds
    enable-offline-docs enable-per-request-metrics enable-prompt-tokens-details
    enable-request-id-headers enable-server-load-tracking enable-sleep-mode enable-ssl-refresh
    enable-tokenizer-info-endpoint exclude-tools-when-tool-choice-none
    fail-on-environ-validation interleave-mm-strings jit-monitor-verbose kv-cache-metrics
    language-model-only log-error-stack mm-device-do-normalize numa-bind
    return-tokens-as-token-ids skip-mm-profiling sleep-mode-offload-cudagraph trust-remote-code
    trust-request-chat-template trust-request-mm-kwargs use-tqdm-on-load
"""
_HARMLESS_VALUES = """
    allowed-headers allowed-local-media-path allowed-methods allowed-origins
    anthropic-disabled-thinking-effort api-server-count chat-template
    chat-template-content-format code-revision cohere-format config-format
    cpu-distributed-timeout-seconds custom-histogram-buckets data-parallel-supervisor-port
    default-chat-template-kwargs disable-access-log-for-endpoints distributed-timeout-seconds
    download-dir dp-supervisor-probe-failure-threshold dp-supervisor-probe-interval-s
    dp-supervisor-probe-timeout-s fingerprint-mode fingerprint-value generation-config grpc-port
    h11-max-header-count h11-max-incomplete-event-size hf-config-path host jit-monitor-mode
    kv-cache-metrics-sample kv-events-config limit-mm-per-prompt load-format log-config-file
    log-level logging-config logprobs-mode master-addr master-port max-log-len max-logprobs
    max-parallel-loading-workers media-io-kwargs middleware mm-encoder-attn-backend
    mm-encoder-attn-dtype mm-encoder-fp8-scale-path mm-encoder-fp8-scale-save-margin
    mm-encoder-fp8-scale-save-path mm-encoder-tp-mode mm-hasher-algorithm mm-processor-cache-gb
    mm-processor-cache-type mm-processor-device mm-processor-kwargs
    mm-shm-cache-max-object-size-mb mm-tensor-ipc model-loader-extra-config otlp-traces-endpoint
    override-generation-config port prefix-caching-hash-algo profiler-config
    pt-load-map-location reasoning-config reasoning-parser reasoning-parser-plugin
    renderer-num-workers response-role revision root-path safetensors-load-strategy
    safetensors-prefetch-block-size safetensors-prefetch-num-threads seed
    show-hidden-metrics-for-version shutdown-timeout sse-keep-alive-interval ssl-ca-certs
    ssl-cert-reqs ssl-certfile ssl-ciphers ssl-keyfile structured-outputs-config tokenizer
    tokenizer-mode tokenizer-revision tool-call-parser tool-parser-plugin tool-server
    tool-strict-level uds uvicorn-log-level video-pruning-method video-pruning-rate
    weight-transfer-config
"""
_HARMLESS_LISTS = """
    allowed-media-domains api-key collect-detailed-traces ignore-patterns numa-bind-cpus
    numa-bind-nodes served-model-name sleep-preserve-parameter-names
"""
_FLAGS = """
    async-scheduling data-parallel-external-lb data-parallel-hybrid-lb
    data-parallel-multi-port-external-lb dcp-q-replicate disable-cascade-attn
    disable-chunked-mm-input disable-custom-all-reduce disable-hybrid-kv-cache-manager
    disable-nccl-for-dp-synchronization disable-sliding-window enable-batch-sharded-sampling
    enable-chunked-prefill enable-cumem-allocator enable-dbo enable-elastic-ep
    enable-ep-weight-filter enable-eplb enable-expert-parallel enable-fault-tolerance
    enable-hc-sp enable-layerwise-nvtx-tracing enable-lora
    enable-mamba-cache-stochastic-rounding enable-mamba-shared-prefix-checkpoint
    enable-mixed-moe-lora-format enable-moe-shared-loras enable-nccl-comm-suspend
    enable-prefix-caching enable-prompt-embeds enable-return-routed-experts enable-scale-out
    enable-shm-tensor-arena enable-tower-connector-lora enable-trace-replay enforce-eager
    fully-sharded-loras grpc headless kv-sharing-fast-prefill
    long-prefill-token-threshold-adaptive mm-encoder-only ray-workers-use-nsight
    return-sampling-mask scheduler-reserve-full-isl skip-tokenizer-init specialize-active-lora
    swa-bounded-replay tokens-only use-fp64-gumbel use-replayssm
"""
_VALUES = """
    additional-config all2all-backend attention-backend attention-config aux-output-config
    block-size compilation-config config convert cp-kv-cache-interleave-size cpu-offload-gb
    data-parallel-address data-parallel-backend data-parallel-rank data-parallel-rpc-port
    data-parallel-size data-parallel-size-local data-parallel-start-rank
    dbo-decode-token-threshold dbo-prefill-token-threshold dcp-comm-backend
    dcp-kv-cache-interleave-size decode-context-parallel-size default-mm-loras device-ids
    diffusion-config distributed-executor-backend dp-sync-interval dtype ec-manager-config
    ec-transfer-config elastic-ep-max-dp-size engram-config eplb-config
    expert-placement-strategy fault-tolerance-config gdn-prefill-backend gpu-memory-utilization
    hf-overrides io-processor-plugin ir-op-priority kda-decode-backend kda-prefill-backend
    kernel-config kv-cache-dtype kv-cache-memory-bytes kv-offloading-backend kv-offloading-size
    kv-transfer-config linear-backend long-prefill-token-threshold lora-dtype mamba-backend
    mamba-block-size mamba-cache-dtype mamba-cache-mode mamba-cache-philox-rounds
    mamba-ssm-cache-dtype mamba-ssu-algorithm max-cpu-loras max-cudagraph-capture-size
    max-lora-cls-labels max-lora-rank max-loras max-model-len max-num-active-seqs
    max-num-batched-tokens max-num-queued-reqs max-num-queued-tokens max-num-scheduled-tokens
    max-num-seqs mm-ipc-gpu-memory-gb model model-class-overrides model-impl moe-backend nnodes
    node-rank num-gpu-blocks-override offload-backend offload-group-size offload-num-in-group
    offload-prefetch-step optimization-level per-request-spec-decode-metrics performance-mode
    pipeline-parallel-size pooler-config prefill-context-parallel-size prefill-schedule-interval
    prefix-cache-retention-interval prefix-match-unit quantization quantization-config
    replayssm-buffer-len runner scheduler-cls scheduling-policy sparse-indexer-topk-backend
    spec-method spec-model spec-tokens speculative-config stream-interval tensor-parallel-size
    ubatch-size watermark watermark-config worker-cls worker-extension-cls
"""
_LISTS = """
    cpu-offload-params cudagraph-capture-sizes kv-cache-dtype-skip-layers logits-processors
    lora-modules lora-target-modules offload-params
"""
_VARIABLES = """
    VLLM_ALLOW_LONG_MAX_MODEL_LEN VLLM_API_KEY VLLM_CACHE_ROOT VLLM_CONFIGURE_LOGGING
    VLLM_DO_NOT_TRACK VLLM_HOST_IP VLLM_LOGGING_CONFIG_PATH VLLM_LOGGING_LEVEL
    VLLM_LOG_STATS_INTERVAL VLLM_NO_USAGE_STATS VLLM_PORT VLLM_RPC_TIMEOUT VLLM_TARGET_DEVICE
    VLLM_USAGE_SOURCE VLLM_USE_MODELSCOPE VLLM_WORKER_MULTIPROC_METHOD
"""
_ON_BY_DEFAULT = {"scheduler-reserve-full-isl", "swa-bounded-replay"}
"""Flags that change nothing when they are given; the rest are off, or decided by the engine."""


def _options(names: str, arity: Arity, *, harmless: bool) -> dict[str, VllmOption]:
    return {
        f"--{name}": VllmOption(f"--{name}", arity, harmless, name in _ON_BY_DEFAULT)
        for name in names.split()
    }


VLLM_OPTIONS: dict[str, VllmOption] = {
    **_options(_HARMLESS_FLAGS, "flag", harmless=True),
    **_options(_HARMLESS_VALUES, "value", harmless=True),
    **_options(_HARMLESS_LISTS, "list", harmless=True),
    **_options("hf-token", "optional", harmless=True),
    **_options(_FLAGS, "flag", harmless=False),
    **_options(_VALUES, "value", harmless=False),
    **_options(_LISTS, "list", harmless=False),
}
"""Every option of the command line by its long name."""

HARMLESS_VARIABLES = frozenset(_VARIABLES.split())
"""Environment variables of the engine that change neither schedule nor step time."""
