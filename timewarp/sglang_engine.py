"""A replica of SGLang in this process: its own `Scheduler` and event loop, no model."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from warnings import catch_warnings

from servecast.errors import InputError
from servecast.primitives.deployment import Deployment
from servecast.timewarp.oracle import END
from servecast.timewarp.serving import Serving
from servecast.timewarp.sglang_drafts import DraftingScheduler, draft_places
from servecast.timewarp.sglang_leaps import LeapingScheduler, counts_passes
from servecast.timewarp.sglang_mail import Inbox, Outbox, channels, receive, send
from servecast.timewarp.sglang_options import server_arguments
from servecast.timewarp.sglang_seam import probe, replaced, srt
from servecast.timewarp.sglang_transfers import DecodingScheduler, Sent, Transfers
from servecast.timewarp.sglang_turns import Turns
from servecast.timewarp.sglang_worker import Launcher, Req, VirtualModule, worker_class
from servecast.timewarp.warped import warped

VOCAB = 32768


class VirtualScheduler:
    """Tells the launcher who is retracted. SGLang's own `Scheduler` does all else."""

    launcher: Launcher

    def _add_request_to_queue(self, req: Req, is_retracted: bool = False) -> None:
        if is_retracted:
            self.launcher.retract(req)
        super()._add_request_to_queue(req, is_retracted)  # type: ignore[misc]


class SglangEngine:
    """SGLang as it would be started with these options; time is the clock of `serving`'s device."""

    name = "SGLang"

    def __init__(
        self,
        deployment: Deployment,
        options: Sequence[str],
        serving: Serving,
        turns: Turns,
        *,
        stepping: bool,
        sent: Sent | None = None,
    ) -> None:
        """`options` are the words of `sglang.launch_server` but for the model.

        With `stepping` its scheduler runs for each step; it does so anyway where it counts them,
        and where prompts are `sent` to it.

        Raises InputError where SGLang refuses them, UnsupportedError for what is not emulated.
        """
        probe()
        self._clock = serving.device.clock
        self._transfers = None if sent is None else Transfers(sent, serving)
        self._outbox, self._inbox = Outbox(), Inbox(turns.take)
        turns.outbox = self._outbox
        with TemporaryDirectory(prefix="servecast-") as folder:
            _write_model(Path(folder), deployment)
            decodes = sent is not None
            arguments = server_arguments(options, deployment, Path(folder), decodes=decodes)
            self._launcher = Launcher(serving)
            self._drafts = deployment.drafting is not None
            self._launcher.width += deployment.num_drafts
            self.stepping = stepping or decodes or self._drafts or counts_passes(arguments)
            self.scheduler = self._start(arguments)
        self._launcher.overlaps = self.scheduler.enable_overlap or self._drafts
        self.scheduler.idle_sleeper = turns
        self.scheduler.device_module = VirtualModule(self.scheduler.device_module, self._launcher)
        self.num_blocks: int = self._pages(self.scheduler.max_total_num_tokens)
        serving.blocks_used = self._pages_used

    def run(self) -> None:
        """Run SGLang's event loop until all requests are served.

        Raises what the engine raises, and what the turns do.
        """
        with self._in_place(), warped(self._clock, "sglang"), catch_warnings(action="ignore"):
            self.scheduler.run_event_loop()

    def close(self) -> None:
        """Undo what SGLang keeps one of a process: its groups of ranks."""
        srt("distributed.parallel_state").cleanup_dist_env_and_memory()
        srt("distributed.bootstrap")._PARALLEL_INITIALISED = False

    def _start(self, arguments: Any) -> Any:
        context = srt("runtime_context")
        ranks = context.SpawnRanks(world_rank=0, dp_rank=None, gpu_id=0)
        context.publish(arguments, role="scheduler", ranks=ranks)
        theirs = srt("managers.scheduler").Scheduler
        own = {"launcher": self._launcher, "transfers": self._transfers}
        ours: list[type] = [VirtualScheduler]
        if self._drafts:
            ours.insert(0, DraftingScheduler)
        elif self._transfers is not None:
            ours.insert(0, DecodingScheduler)
        elif not self.stepping:
            ours.insert(0, LeapingScheduler)
        scheduler: Any = type("VirtualScheduler", (*ours, theirs), own)
        hook = sys.excepthook
        try:
            with self._in_place(arguments):
                return scheduler(arguments, srt("server_args").PortArgs.init_new(arguments))
        except (ValueError, AssertionError) as error:
            self.close()
            raise InputError(f"SGLang does not start with these options: {error}") from error
        finally:
            sys.excepthook = hook  # torch has put its rank in front of every line

    @contextmanager
    def _in_place(self, arguments: Any = None) -> Generator[None]:
        """Messages are handed over, the worker is virtual, and no watchdog looks at the clock."""
        managers = srt("managers.scheduler")
        components = "managers.scheduler_components"
        places: list[tuple[object, str, object]] = [
            (srt(f"{components}.request_receiver"), "sock_recv", receive),
            (srt(f"{components}.output_sender"), "sock_send", send),
        ]
        if self._transfers is not None:
            places += self._transfers.places()
        if self._drafts:
            places += draft_places(self._launcher)
        if arguments is not None:
            worker = worker_class(
                self._launcher, arguments.max_total_tokens, arguments.max_running_requests
            )
            places += [
                (srt("managers.tp_worker"), "TpModelWorker", worker),
                (managers.SchedulerIpcChannels, "create", self._channels),
                (managers, "create_scheduler_watchdog", _nothing),
                (managers, "create_load_snapshot_writer", _nothing),
            ]
        with replaced(*places):
            yield

    def _channels(self, **_: object) -> Any:
        return channels(self._inbox, self._outbox)

    def _pages(self, tokens: int) -> int:
        return tokens // int(self.scheduler.page_size)

    def _pages_used(self) -> int:
        """Pages that requests hold: what the radix cache could give up is free."""
        pool = self.scheduler.token_to_kv_pool_allocator
        free = pool.available_size() + self.scheduler.tree_cache.evictable_size()
        return self._pages(self.scheduler.max_total_num_tokens - free)


def _nothing(*_: object, **__: object) -> None:
    """In place of what would watch or publish from outside."""


def _write_model(folder: Path, deployment: Deployment) -> None:
    """A stand-in for the model: the scheduler asks only for its length and its last token."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "num_hidden_layers": 1,
        "vocab_size": VOCAB,
        "max_position_embeddings": deployment.max_model_len,
        "torch_dtype": "bfloat16",
        "eos_token_id": END,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
