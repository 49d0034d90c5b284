"""What an engine takes besides weights and KV cache where no start-up log says: stated priors.

Every figure names where it was seen and how far logs strayed from it. `MARGIN_BYTES` covers that;
a start-up log of the deployment itself beats all of them (`num_gpu_blocks_override`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from servecast.errors import InputError
from servecast.primitives.deployment import Deployment
from servecast.primitives.model import (
    Attention,
    DenseFfn,
    Ffn,
    LatentAttention,
    LinearAttention,
    Mixer,
    ModelSpec,
    MoeFfn,
)
from servecast.primitives.sharding import Sharding, cdiv

GIB = 1 << 30

NON_TORCH_GIB = (0.10, 0.54, 0.41)
"""One rank; two ranks; more per further doubling.

vLLM 0.11 to 2026 on H100 and B200: 0.07–0.14 GiB with one rank, 0.54 with two, 0.95 with four.
Beyond four ranks it is extrapolated. Older cards were seen at 0.56, vLLM before 0.7 at 1.8–3.6.
"""

GRAPHS_DENSE_GIB, GRAPHS_EXPERTS_GIB = 0.6, 2.0
"""What the engine sets aside for CUDA graphs: 0.1–1.0 GiB seen for dense models, 0.4–4.1 with
experts. The engine subtracts its own estimate, which once was 33 GiB where 8.6 were used."""

MARGIN_BYTES = {"dense": 1 * GIB, "experts": 2 * GIB}
"""What the ledger keeps free on top, so that its KV blocks exist on the real device."""


@dataclass(frozen=True, slots=True)
class Generation:
    """How one generation of the engine profiles itself at start-up."""

    since: tuple[int, int]
    logits_copies: float
    """Copies in fp32 of the logits of `max_num_seqs` sequences that its sampler run holds."""
    subtracts_graphs: bool
    source: str


GENERATIONS = (
    Generation(
        (0, 21),
        1.7,
        True,
        "vLLM 0.32.0 source: 16-bit logits, graphs subtracted since 0.21; 1.7 copies is the most"
        " that a log of 2026 leaves room for",
    ),
    Generation(
        (0, 0),
        9.6,
        False,
        "vLLM 0.11.0 on H100: gpt-oss-20b, Qwen3-32B, Llama-8B, Llama-70B within 0.03 GiB",
    ),
)


def generation(engine_version: str) -> Generation:
    """The generation that a release belongs to; InputError where it is no release number."""
    match = re.match(r"v?(\d+)\.(\d+)", engine_version)
    if match is None:
        raise InputError(
            f"engine version `{engine_version}` is not a release number",
            hint="write it as in `0.32` or `0.32.0`",
        )
    release = (int(match[1]), int(match[2]))
    return next(g for g in GENERATIONS if release >= g.since)


def has_experts(model: ModelSpec) -> bool:
    """Whether any layer is a mixture of experts."""
    return any(isinstance(group.ffn, MoeFfn) for group in model.layers)


def non_torch_bytes(ranks: int) -> int:
    """Bytes of device context and communication buffers, with `ranks` in one replica."""
    one, two, doubling = NON_TORCH_GIB
    gib = one if ranks == 1 else two + doubling * (math.log2(ranks) - 1)
    return round(gib * GIB)


def cuda_graph_bytes(deployment: Deployment) -> int:
    """Bytes that the engine subtracts for CUDA graphs; 0 for releases that did not."""
    if not generation(deployment.engine_version).subtracts_graphs:
        return 0
    gib = GRAPHS_EXPERTS_GIB if has_experts(deployment.model) else GRAPHS_DENSE_GIB
    return round(gib * GIB)


def margin_bytes(model: ModelSpec) -> int:
    """Bytes kept free against the priors' error."""
    return MARGIN_BYTES["experts" if has_experts(model) else "dense"]


def peak_activation_bytes(deployment: Deployment) -> int:
    """Bytes that the engine's profiling run takes at most: its layers, or its sampler.

    The larger, not the sum: five logs of vLLM 0.11 follow
    `4 · 9.6 · sequences · vocabulary + 2 · tokens · hidden` whatever the layers' width, and older
    or newer ones with few sequences follow the layers (110,592 bytes a token on Llama-8B).
    """
    tokens, model = deployment.max_num_batched_tokens, deployment.model
    sequences = min(deployment.max_num_seqs, tokens)
    copies = generation(deployment.engine_version).logits_copies
    sampler = 4 * copies * sequences * model.vocab + 2 * tokens * model.hidden
    return round(max(sampler, _layers_peak_bytes(deployment)))


def _layers_peak_bytes(deployment: Deployment) -> int:
    """The widest part of a layer for a full batch: three rows of hidden state and its own rows."""
    sharding, model = Sharding.of(deployment), deployment.model
    tokens, widest, workspace = deployment.max_num_batched_tokens, 0, 0
    for group in model.layers:
        if group.mixer is not None:
            mixer = sharding.local_mixer(group.mixer)
            widest = max(widest, _mixer_row(mixer, model.hidden))
            workspace = max(workspace, _latent_workspace_bytes(mixer, deployment))
        if group.ffn is not None:
            widest = max(widest, _ffn_row(sharding.local_ffn(group.ffn), model.hidden, sharding))
    return 2 * tokens * (3 * model.hidden + widest) + workspace


def _mixer_row(mixer: Mixer, hidden: int) -> int:
    match mixer:
        case Attention():
            per_head = mixer.head_dim + mixer.value_dim
            return (mixer.heads + mixer.kv_heads) * per_head
        case LatentAttention():
            query = mixer.qk_nope_head_dim + mixer.qk_rope_head_dim
            return mixer.heads * 2 * (query + mixer.v_head_dim)
        case LinearAttention():
            return cdiv(mixer.projection_params, hidden)


def _ffn_row(ffn: Ffn, hidden: int, sharding: Sharding) -> int:
    """Elements per token; experts work on the tokens of all data-parallel ranks."""
    if isinstance(ffn, DenseFfn):
        return (3 if ffn.gated else 2) * ffn.width
    inward = (2 if ffn.gated else 1) * ffn.width
    routed = ffn.experts_per_token * (max(inward, ffn.latent_width or hidden) + ffn.width)
    return routed * sharding.data_parallel_size + 3 * ffn.shared_width


def _latent_workspace_bytes(mixer: Mixer, deployment: Deployment) -> int:
    """Bytes that MLA expands of earlier context at a time: 64 Ki tokens at most (vLLM 0.32.0)."""
    if not isinstance(mixer, LatentAttention):
        return 0
    wanted = max(8 * deployment.max_model_len, 4 * deployment.max_num_seqs * deployment.block_size)
    expanded = mixer.heads * (mixer.qk_nope_head_dim + mixer.v_head_dim)
    return 2 * min(wanted, 1 << 16) * (expanded + mixer.latent_dim)
