"""The time of an engine's own loop around its steps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from servecast.primitives.coefficients import shipped
from servecast.primitives.deployment import Deployment


@dataclass(frozen=True, slots=True)
class HostTime:
    """Time of the engine's own loop around a step, by engine and version.

    A step takes as long as the device or as the overlapped host work, whichever is longer, and the
    exposed host work on top. The defaults are vLLM's synchronous scheduling, where all is exposed,
    with the coefficients that ship.
    """

    step_s: float = field(default_factory=lambda: shipped("roofline").vllm_step_s)
    sequence_s: float = field(default_factory=lambda: shipped("roofline").sequence_s)
    overlapped_step_s: float = 0.0
    overlapped_sequence_s: float = 0.0
    eager_step_s: float = 0.0
    """Launching a step with prompts kernel by kernel, where no CUDA graph holds it; overlapped."""

    @classmethod
    def asynchronous(cls) -> HostTime:
        """vLLM's that schedules the next step meanwhile: what is left exposed is fitted, what is
        hidden is as long as all of it is otherwise, or a guess below that."""
        return cls(
            shipped("roofline").vllm_async_step_s,
            overlapped_step_s=1.5e-3,
            overlapped_sequence_s=10e-6,
        )

    @classmethod
    def sglang(cls) -> HostTime:
        """SGLang's in its loop with overlap: what is left exposed is fitted, what is hidden is
        taken for as long as vLLM's."""
        return replace(cls.asynchronous(), step_s=shipped("roofline").sglang_step_s)

    @classmethod
    def trtllm(cls) -> HostTime:
        """TensorRT-LLM's with its overlap scheduler: what is left exposed is fitted, what is hidden
        is a guess."""
        exposed_s = shipped("roofline").trtllm_step_s
        return cls(exposed_s, overlapped_step_s=1.0e-3, overlapped_sequence_s=10e-6)

    @classmethod
    def of(cls, deployment: Deployment) -> HostTime:
        """The default of a deployment that nobody calibrated."""
        if deployment.engine in ("sglang", "trtllm"):
            ahead = cls.sglang() if deployment.engine == "sglang" else cls.trtllm()
            return ahead if deployment.schedules_ahead else ahead.exposed()
        return cls.asynchronous() if deployment.async_scheduling else cls()

    def exposed(self) -> HostTime:
        """The same work where nothing of it is hidden behind the device."""
        step_s = self.step_s + self.overlapped_step_s
        return HostTime(step_s, self.sequence_s + self.overlapped_sequence_s)

    @property
    def overlaps(self) -> bool:
        """Whether the next step is scheduled while the device computes."""
        return max(self.overlapped_step_s, self.overlapped_sequence_s, self.eager_step_s) > 0
