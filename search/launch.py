"""How an engine is started with the limits that were simulated: its command, image and options."""

from __future__ import annotations

from dataclasses import dataclass

from servecast.primitives.deployment import Deployment
from servecast.search import sglang_arguments, vllm_arguments
from servecast.search.engine_defaults import engine_release
from servecast.search.vllm_formats import Argument


@dataclass(frozen=True, slots=True)
class Launch:
    """The words that start a server, and where its image is."""

    title: str
    release: str
    command: tuple[str, ...]
    """The program, before the model."""
    model: tuple[str, ...]
    """The words that name the model."""
    options: tuple[Argument, ...]
    image: str
    listens: tuple[str, ...]
    """The words that make it listen where a container publishes it, where it does not already."""
    pool_option: str
    """What fixes the KV cache."""
    pool_advice: str
    """What to do where the engine does not start with it."""
    notes: tuple[str, ...] = ()
    """What else to know of the options."""


def launch(deployment: Deployment, num_gpu_blocks: int, model: str, port: int) -> Launch:
    """The launch of one replica; raises as the engine's `arguments` do."""
    if deployment.engine == "sglang":
        return _sglang(deployment, num_gpu_blocks, model, port)
    release = engine_release(deployment.engine, deployment.engine_version)
    return Launch(
        title="vLLM",
        release=release,
        command=("vllm", "serve"),
        model=(model,),
        options=tuple(vllm_arguments.arguments(deployment, num_gpu_blocks)),
        image=f"vllm/vllm-openai:v{release}",
        listens=(),
        pool_option="--num-gpu-blocks-override",
        pool_advice="read the number of GPU blocks in its log, and simulate again with "
        "`num_gpu_blocks_override` at that number",
        notes=(
            "Prefix caching and asynchronous scheduling are on in vLLM by default. They are off "
            "here because they were off in the simulation: switching them on may serve better, but "
            "it is not what was predicted.",
        ),
    )


def _sglang(deployment: Deployment, num_pages: int, model: str, port: int) -> Launch:
    release = sglang_arguments.RELEASE
    return Launch(
        title="SGLang",
        release=release,
        command=("python3", "-m", "sglang.launch_server"),
        model=("--model-path", model, "--host", "0.0.0.0"),
        options=tuple(sglang_arguments.arguments(deployment, num_pages)),
        image=f"lmsysorg/sglang:v{release}",
        listens=("--port", str(port)),
        pool_option="--max-total-tokens",
        pool_advice="read `max_total_num_tokens` in its log, and simulate again with "
        "`max_total_tokens` at that number",
        notes=(
            "Requests that say `ignore_eos` are counted by SGLang at their whole declared output, "
            "and so are those of `verify.sh`; the simulation counts a share of it, as for clients "
            "who do not.",
        ),
    )
