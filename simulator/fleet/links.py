"""The network adapters of replicas, and who takes them when."""

from __future__ import annotations


class Links:
    """Each replica's adapters, which all carry one transfer at a time, in order of booking.

    A transfer takes those of its sender and those of its receiver for as long as the slower of
    them needs.
    """

    def __init__(self) -> None:
        self._free_ns: dict[int, int] = {}
        """When the adapters of a replica, by its number, have carried all that was booked."""

    def book(self, sender: int, receiver: int, earliest_ns: int, wire_ns: int) -> int:
        """When a transfer is over that takes the wire for `wire_ns`, from `earliest_ns` on."""
        begin_ns = max(earliest_ns, *(self._free_ns.get(end, 0) for end in (sender, receiver)))
        end_ns = begin_ns + wire_ns
        self._free_ns[sender] = self._free_ns[receiver] = end_ns
        return end_ns
