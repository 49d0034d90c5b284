"""vLLM's own OpenAI API server on virtual time, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servecast.errors import InputError, UnsupportedError
from servecast.primitives.accelerator import Accelerator
from servecast.primitives.deployment import Deployment
from servecast.simulator.request import Request
from servecast.timewarp.foreign import foreign
from servecast.timewarp.http_core import LoopCore
from servecast.timewarp.http_seam import replaced
from servecast.timewarp.journal import Journal
from servecast.timewarp.oracle import END
from servecast.timewarp.serving import Serving
from servecast.timewarp.vllm_engine import parse, write_model
from servecast.timewarp.vllm_executor import executor_class
from servecast.timewarp.vllm_platform import present

MODEL = "emulated"
"""The name by which clients ask for the model."""


_MODULES = (
    "vllm.benchmarks.serve",
    "vllm.entrypoints.launchers.api_server.app_state",
    "vllm.entrypoints.launchers.app",
    "vllm.entrypoints.launchers.cli_args",
    "vllm.entrypoints.launchers.launcher",
    "vllm.v1.engine.async_llm",
    "vllm.v1.engine.core",
)


_NEEDED = (
    "uvicorn watchfiles httpx greenlet prometheus-fastapi-instrumentator "
    "model-hosting-container-standards"
)


def load(accelerator: Accelerator) -> None:
    """Import all of vLLM that a server and its client run, so that `warped` finds it.

    Raises UnsupportedError where a package that only the server needs is not installed.
    """
    present(accelerator)
    try:
        for name in (*_MODULES, "greenlet"):
            foreign(name)
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f"vLLM's API server needs `{error.name}`, which is not installed",
            hint=f"install what its engine does without: pip install {_NEEDED}",
        ) from error


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers."""

    url: str
    engine: asyncio.Task[None]
    """Its busy loop: done only when it has failed, with the error."""
    num_blocks: int


@asynccontextmanager
async def started(
    deployment: Deployment,
    options: Sequence[str],
    serving: Serving,
    journal: Journal,
    known: Mapping[int, Request],
    port: int = 0,
) -> AsyncGenerator[Server]:
    """A server at `port` of this machine (0: a free one), started with `options` of `vllm serve`.

    `known` are the requests whose lengths are decided, by the id that their clients send.

    Raises InputError where vLLM refuses the options.
    """
    listener = socket.create_server(("127.0.0.1", port))
    port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="servecast-") as folder:
        write_model(Path(folder), deployment)
        _write_end(Path(folder))
        words = ["--model", folder, "--served-model-name", MODEL, "--skip-tokenizer-init"]
        words += ["--host", "127.0.0.1", "--port", str(port), "--disable-uvicorn-access-log"]
        arguments, front, core = _front(
            [*words, *options], _Making(deployment, serving, journal, known)
        )
        pool = core.engine.scheduler.kv_cache_manager.block_pool
        num_blocks = pool.get_num_free_blocks()
        serving.blocks_used = lambda: num_blocks - pool.get_num_free_blocks()
        engine = asyncio.create_task(core.serve())
        uvicorn, http = await _serve(front, arguments, listener)
        try:
            yield Server(f"http://127.0.0.1:{port}", engine, num_blocks)
        finally:
            uvicorn.should_exit = True
            with contextlib.suppress(asyncio.CancelledError):  # the loop itself is ending
                await (await http)
            engine.cancel()
            front.shutdown()
            core.engine.scheduler.shutdown()
            listener.close()
            gc.unfreeze()


@dataclass(frozen=True, slots=True)
class _Making:
    """What an engine core is made from."""

    deployment: Deployment
    serving: Serving
    journal: Journal
    known: Mapping[int, Request]

    def core(self, vllm_config: Any, executor_class: Any) -> LoopCore:
        """In the place of vLLM's client of another process."""
        engine = foreign("vllm.v1.engine.core").EngineCore(
            vllm_config, executor_class, log_stats=False
        )
        self.serving.cache.require(self.deployment)
        return LoopCore(engine, self.serving, self.journal, self.known, self.deployment.block_size)


def _front(words: Sequence[str], making: _Making) -> tuple[Any, Any, LoopCore]:
    """The words as the server's own parser reads them, its `AsyncLLM`, and the engine behind."""
    parser = foreign("vllm.entrypoints.launchers.cli_args").make_arg_parser(
        foreign("vllm.utils.argparse_utils").FlexibleArgumentParser()
    )
    client = foreign("vllm.v1.engine.core_client").EngineCoreClient
    made: list[LoopCore] = []

    def make(vllm_config: Any, executor_class: Any, **_: object) -> LoopCore:
        made.append(making.core(vllm_config, executor_class))
        return made[0]

    executor = executor_class(making.serving)
    try:
        arguments = parse(parser, words)
        given = foreign("vllm.engine.arg_utils").AsyncEngineArgs.from_cli_args(arguments)
        given.distributed_executor_backend = executor
        config = given.create_engine_config()
        with replaced(client, "make_async_mp_client", staticmethod(make)):
            front = foreign("vllm.v1.engine.async_llm").AsyncLLM(config, executor, log_stats=True)
    except ValueError as error:
        raise InputError(f"vLLM does not start with these options: {error}") from error
    return arguments, front, made[0]


def _write_end(folder: Path) -> None:
    """Any client's request ends at the token that says so: the model's end of sequence."""
    generation = json.dumps({"eos_token_id": END})
    (folder / "generation_config.json").write_text(generation, encoding="utf-8")


async def _serve(
    front: Any, arguments: Any, listener: socket.socket
) -> tuple[Any, asyncio.Task[Any]]:
    """uvicorn, answering for vLLM at `listener`, and the task that ends when it is told to."""
    tasks = await front.get_supported_tasks()
    app = foreign("vllm.entrypoints.launchers.app").build_app(arguments, tasks, front.model_config)
    state = foreign("vllm.entrypoints.launchers.api_server.app_state")
    await state.init_app_state(front, app.state, arguments, tasks)
    serve_http = foreign("vllm.entrypoints.launchers.launcher").serve_http
    http = asyncio.create_task(
        serve_http(
            app,
            sock=listener,
            host=arguments.host,
            port=arguments.port,
            log_level="critical",
            access_log=False,
        )
    )
    while not (hasattr(app.state, "server") and app.state.server.started):
        await asyncio.sleep(0)
        if http.done():
            await http
    return app.state.server, http
