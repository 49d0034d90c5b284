"""SGLang's server options: read by its own parser, refused where they are not emulated."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.primitives.policy import SglangPolicy
from servecast.primitives.speculation import Speculation
from servecast.timewarp.sglang_seam import replaced, srt

MIB = 2**20
DEFAULT_PAGE_SIZE = 1
"""Of the attention backends that SGLang takes on a GPU by default; they may ask for another."""

_UNDER_TEST = (
    *("--device", "cpu", "--load-format", "dummy", "--skip-tokenizer-init", "--sleep-on-idle"),
    *("--attention-backend", "torch_native", "--tp-size", "1", "--log-level", "critical"),
)
"""Said last, so that they hold: a virtual device has one rank, whose cost is that of all."""

_DECODES = ("--disaggregation-mode", "decode", "--disaggregation-transfer-backend", "fake")
"""Said of a server whose prompts come from another one."""

ALGORITHMS = {
    "ngram": "NGRAM",
    "draft_model": "STANDALONE",
    "eagle": "EAGLE",
    "eagle3": "EAGLE3",
    "mtp": "EAGLE",
}
"""SGLang's names of the methods; a layer of the target's own is to it an EAGLE head."""

_NEUTRAL: dict[str, object] = {
    "pp_size": 1,
    "dp_size": 1,
    "enable_lora": None,
    "disaggregation_mode": "null",
    "enable_hierarchical_cache": False,
    "enable_lmcache": False,
    "enable_hisparse": False,
    "enable_priority_scheduling": False,
    "enable_metrics": False,
    "enable_two_batch_overlap": False,
    "enable_pdmux": False,
    "dllm_algorithm": None,
    "max_queued_requests": None,
    "scheduler_recv_interval": 1,
}
"""Options that have to stay as they are, for what they switch on is not emulated."""


def draft_words(drafting: Speculation | None, target: str) -> list[str]:
    """The options of a server that drafts chains of tokens; `target` is the model that it serves.

    The last token said is verified with its drafts: SGLang counts it among them. UnsupportedError
    for what SGLang has no option for.
    """
    if drafting is None:
        return []
    if drafting.num_speculative_tokens_per_batch_size:
        raise UnsupportedError(
            "SGLang drafts equally much in every step: it has no "
            "num_speculative_tokens_per_batch_size",
            hint="leave it out of the speculation",
        )
    drafts = drafting.num_speculative_tokens
    words = ["--speculative-algorithm", ALGORITHMS[drafting.method]]
    if drafting.draft is None:
        words += ["--speculative-ngram-max-bfs-breadth", "1"]
    else:
        path = target if drafting.method == "mtp" else drafting.draft.model.name
        words += ["--speculative-draft-model-path", path, "--speculative-num-steps", str(drafts)]
        words += ["--speculative-eagle-topk", "1"]
    return [*words, "--speculative-num-draft-tokens", str(drafts + 1)]


class _Words(ArgumentParser):
    """A parser that raises: SGLang's options are the user's, and so is the mistake."""

    def error(self, message: str) -> NoReturn:
        raise InputError(
            f"SGLang does not know these options: {message}",
            hint="its options are those of `python -m sglang.launch_server --help`",
        )


def server_words(deployment: Deployment, num_blocks: int) -> list[str]:
    """The options that start a server of this deployment with so many pages in its KV pool."""
    policy = deployment.policy if isinstance(deployment.policy, SglangPolicy) else SglangPolicy()
    flags = {
        "--disable-radix-cache": not deployment.enable_prefix_caching,
        "--enable-mixed-chunk": policy.enable_mixed_chunk,
        "--disable-overlap-schedule": policy.disable_overlap_schedule,
    }
    return [
        *(flag for flag, is_set in flags.items() if is_set),
        *("--schedule-policy", policy.schedule_policy),
        *("--schedule-conservativeness", str(policy.schedule_conservativeness)),
        *("--context-length", str(deployment.max_model_len)),
        *("--max-running-requests", str(deployment.max_num_seqs)),
        *("--chunked-prefill-size", str(deployment.max_num_batched_tokens)),
        *("--page-size", str(deployment.block_size)),
        *("--max-total-tokens", str(num_blocks * deployment.block_size)),
        *("--tp-size", str(deployment.tensor_parallel_size)),
        *draft_words(deployment.drafting, deployment.model.name),
    ]


def server_arguments(
    words: Sequence[str], deployment: Deployment, model: Path, *, decodes: bool = False
) -> Any:
    """SGLang's own `ServerArgs` of these options, with the defaults of the target accelerator.

    With `decodes` the server takes over prompts that another one computes.

    Raises InputError for options that SGLang refuses or that leave the pool's size open,
    UnsupportedError for what is not emulated.
    """
    server_args = srt("server_args").ServerArgs
    parser = _Words(prog="sglang", allow_abbrev=False)
    server_args.add_cli_args(parser)
    first = ("--model-path", str(model), "--page-size", str(DEFAULT_PAGE_SIZE))
    stated = parser.parse_args([*first, *words])
    _refuse(stated)
    drafts = parser.parse_args([*first, *draft_words(deployment.drafting, deployment.model.name)])
    _refuse_drafts(stated, drafts, decodes=decodes)
    last = list(_DECODES if decodes else ())
    if stated.speculative_draft_model_path is not None:
        last += ["--speculative-draft-model-path", str(model)]
    parsed = parser.parse_args([*first, *words, *_UNDER_TEST, *last])
    hook = srt("arg_groups.memory_hook")

    def memory_mib(_: object) -> float:
        return deployment.accelerator.memory_bytes / MIB

    try:
        with replaced((hook, "get_device_memory_capacity", memory_mib), _overlap_of_a_gpu()):
            arguments = server_args.from_cli_args(parsed)
            arguments.resolve_once()
            return arguments
    except (ValueError, AssertionError) as error:
        raise InputError(f"SGLang does not start with these options: {error}") from error


def _overlap_of_a_gpu() -> tuple[object, str, object]:
    """What to replace, so that SGLang overlaps steps with drafts, as it does not on a CPU."""

    def leave(_: object) -> None:
        """Change nothing."""

    return srt("arg_groups.speculative_hook"), "_disable_overlap_schedule_for_cpu", leave


def _refuse(parsed: object) -> None:
    for name, neutral in _NEUTRAL.items():
        value = getattr(parsed, name)
        if value != neutral and not (not value and not neutral):
            option = f"--{name.replace('_', '-')}"
            raise UnsupportedError(
                f"SGLang's option {option} {value} is not emulated yet",
                hint=f"leave {option} out",
            )
    for name in ("max_total_tokens", "max_running_requests"):
        if getattr(parsed, name) is None:
            option = f"--{name.replace('_', '-')}"
            raise InputError(
                f"SGLang's options leave {option} open: a server measures it on its GPU",
                hint=f"give {option}, as a start-up log or `servecast memory` shows it",
            )


def _refuse_drafts(stated: Namespace, simulated: Namespace, *, decodes: bool) -> None:
    """UnsupportedError for drafts other than those whose acceptance is known: trees among them."""
    for name, value in vars(stated).items():
        if name.startswith("speculative_") and value != getattr(simulated, name):
            raise UnsupportedError(
                f"SGLang's option --{name.replace('_', '-')} {value} is not emulated yet: the "
                f"drafts that are known have {getattr(simulated, name)}",
                hint="leave it out, and state chains of drafts by `speculation` of the deployment",
            )
    beside = "--enable-mixed-chunk" if stated.enable_mixed_chunk else None
    beside = "--disaggregation-mode decode" if decodes else beside
    if beside is not None and stated.speculative_algorithm is not None:
        raise UnsupportedError(
            f"SGLang's option {beside} is not emulated beside drafts yet",
            hint=f"leave {beside.split()[0]} out, or the speculation",
        )
