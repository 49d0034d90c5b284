"""vLLM's scheduler-side connector for KV caches that come over a link.

vLLM takes a connector by module and name. This one is made when it is asked for.
"""

from __future__ import annotations

from typing import Any

from servecast.timewarp.foreign import foreign
from servecast.timewarp.remote_kv import RemoteKv

_NAME = "RemoteKvConnector"


def connector_config(remote: RemoteKv) -> Any:
    """vLLM's configuration of a connector that does what `remote` says."""
    return foreign("vllm.config").KVTransferConfig(
        kv_connector=_NAME,
        kv_connector_module_path=__name__,
        kv_role="kv_both",
        kv_connector_extra_config={"remote": remote},
    )


def __getattr__(name: str) -> type[Any]:
    """The connector's class."""
    if name != _NAME:
        raise AttributeError(f"there is no connector `{name}`")
    base = foreign("vllm.distributed.kv_transfer.kv_connector.v1.base")
    return type(name, (SchedulerSide, base.KVConnectorBase_V1, base.SupportsHMA), {})


class SchedulerSide:
    """What a scheduler asks of a connector. No worker loads or saves anything."""

    def __init__(self, vllm_config: Any, role: Any, kv_cache_config: Any) -> None:
        super().__init__(vllm_config, role, kv_cache_config)  # type: ignore[call-arg]
        extra = vllm_config.kv_transfer_config.kv_connector_extra_config
        self._remote: RemoteKv = extra["remote"]
        self._metadata = foreign("vllm.distributed.kv_transfer.kv_connector.v1.base")

    def get_num_new_matched_tokens(
        self, request: Any, num_computed_tokens: int
    ) -> tuple[int, bool]:
        """Tokens to fetch, while others are computed."""
        known = self._remote.matched(
            request.request_id, request.num_prompt_tokens, num_computed_tokens
        )
        return known, known > 0

    def update_state_after_alloc(
        self, request: Any, blocks: object, num_external_tokens: int
    ) -> None:
        """The blocks for what is to be fetched are there."""
        if num_external_tokens:
            self._remote.fetch(request.request_id, num_external_tokens)

    def build_connector_meta(self, scheduler_output: object) -> object:
        """Nothing is to be said to workers."""
        return self._metadata.KVConnectorMetadata()

    def request_finished_all_groups(
        self, request: Any, block_ids: object
    ) -> tuple[bool, dict[str, Any] | None]:
        """Whether the blocks stay until somebody has fetched them."""
        return self._remote.keep(request.request_id), None

    def request_finished(
        self, request: Any, block_ids: object
    ) -> tuple[bool, dict[str, Any] | None]:
        """The same, of a cache with one group."""
        return self.request_finished_all_groups(request, block_ids)

    def start_load_kv(self, *_: object, **__: object) -> None:
        """A worker's part."""

    def wait_for_layer_load(self, layer_name: str) -> None:
        """A worker's part."""

    def save_kv_layer(self, *_: object, **__: object) -> None:
        """A worker's part."""

    def wait_for_save(self) -> None:
        """A worker's part."""
