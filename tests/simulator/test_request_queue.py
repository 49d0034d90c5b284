"""Waiting requests: in the order they came, or in that of their priority."""

from __future__ import annotations

from servecast.simulator.request import Request
from servecast.simulator.request_queue import FcfsRequestQueue, PriorityRequestQueue, RequestQueue
from servecast.simulator.stepped_request import SteppedRequest


def waiting(index: int, priority: int = 0) -> SteppedRequest:
    request = Request(index, 10 * index, 8, 4, 4)
    request.priority = priority
    return SteppedRequest(request)


def drained(queue: RequestQueue) -> list[int]:
    order: list[int] = []
    while queue:
        head = queue.peek_request()
        assert queue.pop_request() is head
        order.append(head.request.index)
    return order


def test_first_come_is_first_served_and_who_was_preempted_goes_before() -> None:
    queue = FcfsRequestQueue()
    for index in (1, 2, 3):
        queue.add_request(waiting(index))
    queue.prepend_request(waiting(7))
    assert drained(queue) == [7, 1, 2, 3]


def test_those_who_were_skipped_come_back_in_their_order() -> None:
    queue = FcfsRequestQueue()
    queue.add_request(waiting(5))
    queue.prepend_requests([waiting(2), waiting(1)])  # the last skipped first
    assert drained(queue) == [1, 2, 5]


def test_the_smallest_priority_goes_first_and_of_equals_the_first_that_came() -> None:
    queue = PriorityRequestQueue()
    for index, priority in ((1, 0), (2, -1), (3, 5), (4, -1)):
        queue.add_request(waiting(index, priority))
    queue.prepend_request(waiting(9))
    queue.prepend_requests([waiting(8, 9)])
    assert drained(queue) == [2, 4, 1, 9, 3, 8]


def test_a_request_is_taken_out_wherever_it_stands() -> None:
    for queue in (FcfsRequestQueue(), PriorityRequestQueue()):
        requests = [waiting(index) for index in range(5)]
        for request in requests:
            queue.add_request(request)
        queue.remove_request(requests[2])
        assert drained(queue) == [0, 1, 3, 4]
