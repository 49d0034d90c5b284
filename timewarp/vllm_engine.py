"""A replica of vLLM in this process: its own `EngineCore`, its own scheduler, no model."""

from __future__ import annotations

import gc
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.deployment import Deployment
from servecast.simulator.request import Request
from servecast.timewarp.foreign import foreign
from servecast.timewarp.meta_model_cache import model_keys
from servecast.timewarp.meta_model_config import meta_model_config
from servecast.timewarp.oracle import END
from servecast.timewarp.remote_kv import RemoteKv
from servecast.timewarp.remote_kv_connector import connector_config
from servecast.timewarp.remote_kv_executor import remote_executor_class
from servecast.timewarp.served import Served
from servecast.timewarp.serving import Serving
from servecast.timewarp.vllm_credits import credit_class
from servecast.timewarp.vllm_executor import executor_class
from servecast.timewarp.vllm_platform import present


class VllmEngine:
    """Steps vLLM as its own busy loop would; time is the clock of `serving`'s device."""

    name = "vllm"

    def __init__(
        self,
        deployment: Deployment,
        options: Sequence[str],
        serving: Serving,
        *,
        stepping: bool = False,
        remote: RemoteKv | None = None,
    ) -> None:
        """`options` are the words of `vllm serve` but for the model; `stepping` is one pass a step,
        which drafts and `remote` caches take.

        Raises InputError where vLLM refuses the options.
        """
        present(deployment.accelerator)
        self._serving = serving
        self._block_size = deployment.block_size
        self._core = _core(deployment, options, serving, remote, stepping=stepping)
        serving.cache.require(deployment)
        self._engine = foreign("vllm.v1.engine")
        self._params = foreign("vllm.sampling_params").SamplingParams
        pool = self._core.scheduler.kv_cache_manager.block_pool
        self.num_blocks: int = pool.get_num_free_blocks()
        serving.blocks_used = lambda: self.num_blocks - pool.get_num_free_blocks()

    def add(self, request: Request) -> None:
        """Queue a request, as the front end hands it over."""
        served = Served(request, self._block_size)
        request_id = f"{request.index:09}"  # vLLM takes them in order where all else is equal
        self._serving.requests[request_id] = served
        params = self._params(
            max_tokens=request.max_tokens, temperature=0.0, stop_token_ids=[END], detokenize=False
        )
        core_request = self._engine.EngineCoreRequest(
            request_id=request_id,
            prompt_token_ids=served.prompt,
            mm_features=None,
            sampling_params=params,
            pooling_params=None,
            arrival_time=request.arrival_ns / 1e9,
            lora_request=None,
            cache_salt=None,
            data_parallel_rank=None,
            priority=request.priority,
        )
        self._core.add_request(*self._core.preprocess_add_request(core_request))

    @property
    def waiting(self) -> int:
        """Requests in its queue."""
        return len(self._core.scheduler.waiting)

    @property
    def kv_used(self) -> float:
        """Share of its KV blocks that requests hold."""
        return self._serving.blocks_used() / self.num_blocks

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._core.scheduler.has_requests() or self._core.batch_queue)

    def step(self) -> list[int]:
        """One turn of the engine's loop: indices of the requests that it declares finished."""
        by_client, executed = self._core.step_fn()
        self._core.post_step(executed)
        if not by_client:
            return []
        (client,) = by_client.values()
        return [int(each.request_id) for each in client.outputs if each.finish_reason is not None]

    def close(self) -> None:
        """Undo what vLLM did to the process: its frozen heap is collected again."""
        self._core.scheduler.shutdown()
        gc.unfreeze()


def _core(
    deployment: Deployment,
    options: Sequence[str],
    serving: Serving,
    remote: RemoteKv | None,
    *,
    stepping: bool,
) -> Any:
    executor = remote_executor_class(serving, remote) if remote else executor_class(serving)
    with tempfile.TemporaryDirectory(prefix="servecast-") as folder:
        write_model(Path(folder), deployment)
        drafts = write_draft(Path(folder), deployment)
        try:
            arguments = _arguments(["--model", folder, "--skip-tokenizer-init", *options, *drafts])
            arguments.distributed_executor_backend = executor
            arguments.kv_transfer_config = connector_config(remote) if remote else None
            config = arguments.create_engine_config()
            if not stepping:
                scheduling = config.scheduler_config
                base = scheduling.get_scheduler_cls()
                scheduling.scheduler_cls = credit_class(base, serving)
            return foreign("vllm.v1.engine.core").EngineCore(config, executor, log_stats=False)
        except (ValueError, NotImplementedError) as error:
            raise InputError(f"vLLM does not start with these options: {error}") from error


def _arguments(words: Sequence[str]) -> Any:
    """The words as the engine's own parser reads them; ValueError where it cannot."""
    arguments = foreign("vllm.engine.arg_utils").EngineArgs
    parser = arguments.add_cli_args(foreign("vllm.utils.argparse_utils").FlexibleArgumentParser())
    return arguments.from_cli_args(parse(parser, words))


def parse(parser: Any, words: Sequence[str]) -> Any:
    """What one of vLLM's parsers makes of `words`; ValueError, not an exit, where it refuses."""

    def refuse(message: str) -> NoReturn:
        raise ValueError(message)

    parser.error = refuse
    return parser.parse_args(words)


def write_model(folder: Path, deployment: Deployment, **others: object) -> None:
    """The model's `config.json`, or one that stands in for it, with other values of some keys."""
    keys = {**model_keys(deployment), **others}
    (folder / "config.json").write_text(json.dumps(keys), encoding="utf-8")


def write_draft(folder: Path, deployment: Deployment) -> list[str]:
    """The draft model's `config.json` in a folder of its own, and the option that names it there
    and holds in place of one before it.

    UnsupportedError where a stand-in for the target would have to predict several tokens.
    """
    drafting, target = deployment.drafting, deployment.model
    if drafting is None:
        return []
    if drafting.method == "mtp" and meta_model_config(target, deployment.max_model_len) is None:
        raise UnsupportedError(
            f"multi-token prediction of {target.name} is not emulated without its config.json",
            hint="name the model by the folder of its config.json, or simulate it",
        )
    own = folder / "draft"
    if drafting.draft is not None:
        own.mkdir()
        vocabulary = model_keys(deployment)["vocab_size"]  # that of a stand-in, maybe
        model = replace(deployment, model=drafting.draft.model)
        write_model(own, model, vocab_size=vocabulary)
    return ["--speculative-config", drafting.config(str(own))]
