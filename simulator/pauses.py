"""Decoding requests that stand still while prompts are computed."""

from __future__ import annotations


class Pauses:
    """Of an engine that does not mix: since when how many requests have had no token.

    Truthy while somebody stands still. The engine calls `stand_still` before each step of prompts
    alone and `end` when the decode group moves again.
    """

    __slots__ = ("_sequences", "_since")

    def __init__(self) -> None:
        self._since: list[tuple[int, int]] = []
        self._sequences = 0

    def __bool__(self) -> bool:
        return bool(self._since)

    def stand_still(self, sequences: int, now_ns: int) -> None:
        """A step without the `sequences` of the decode group starts; who newly joined had a token.

        Nobody leaves the group between such steps, so those it gained are the new ones.
        """
        newly = sequences - self._sequences
        if newly:
            self._since.append((now_ns, newly))
            self._sequences = sequences

    def leave(self, joined_ns: int, now_ns: int) -> int:
        """One who joined the group at `joined_ns` is taken back; when its latest token came out."""
        for place, (since_ns, sequences) in enumerate(self._since):
            if since_ns >= joined_ns:
                self._since[place] = (since_ns, sequences - 1)
                self._sequences -= 1
                return since_ns
        return now_ns

    def end(self) -> list[tuple[int, int]]:
        """(when their latest token came out, how many requests), of all that stood still."""
        since, self._since, self._sequences = self._since, [], 0
        return since
