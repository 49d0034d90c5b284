"""Worker threads of a web framework, made jobs that the event loop knows of."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

from servecast.timewarp.foreign import foreign
from servecast.timewarp.http_seam import replaced


@contextmanager
def threads_as_jobs() -> Generator[None]:
    """What starlette gives to anyio's threads goes to the loop's thread pool instead.

    A `VirtualLoop` waits for its own jobs and knows nothing of other threads: time would run on
    while one of them makes up an answer, as it does for `/metrics`.
    """
    with replaced(foreign("anyio.to_thread"), "run_sync", _run_sync):
        yield


async def _run_sync(func: Callable[..., Any], *args: Any, **_: object) -> Any:
    """As `anyio.to_thread.run_sync`, but for its limits, which one thread needs none of."""
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, partial(context.run, func, *args))
