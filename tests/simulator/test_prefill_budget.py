"""What one pass of SGLang may still admit."""

from __future__ import annotations

from servecast.simulator.kv_blocks import KvBlocks
from servecast.simulator.prefill_budget import PrefillBudget


def budget(pages: int = 100, chunk_tokens: int = 64, promised_tokens: float = 0.0) -> PrefillBudget:
    at_most = promised_tokens + 1
    return PrefillBudget(KvBlocks(pages, 16), chunk_tokens, lambda: promised_tokens, at_most)


def test_a_prompt_that_is_cut_ends_on_a_page() -> None:
    assert budget(chunk_tokens=80).first_chunk(70) == 70
    assert budget(chunk_tokens=70).first_chunk(70) == 64, "its last page would go beyond"


def test_a_prompt_that_goes_on_takes_what_is_left_whatever_the_page() -> None:
    assert budget(chunk_tokens=70).next_chunk(500) == 70
    assert budget(pages=3, promised_tokens=7.5).next_chunk(500) == 40
    assert budget(pages=3, promised_tokens=50.0).next_chunk(500) == 64, "however little is free"
    assert budget().next_chunk(9) == 9


def test_a_page_beside_the_request_has_to_be_free() -> None:
    assert budget(pages=6, promised_tokens=0.5).fits(60, 19)
    assert not budget(pages=6, promised_tokens=1.0).fits(60, 19)


def test_who_is_admitted_takes_whole_pages_and_its_output() -> None:
    given = budget(pages=10, chunk_tokens=100)
    given.reserve(20, 50)
    assert given.chunk_tokens == 68
    assert given.remaining == 160 - 32 - 16 - 50
    given.reserve(40, 0)
    assert not given.has_capacity


def test_promises_are_added_up_only_where_the_bound_on_them_does_not_decide() -> None:
    asked: list[None] = []

    def promise() -> float:
        asked.append(None)
        return 20.0

    given = PrefillBudget(KvBlocks(10, 16), 1000, promise, at_most=40.0)
    assert given.fits(60, 43), "160 - 40 is more than 60 + 43 and a page"
    assert not asked
    given.reserve(32, 8)
    assert given.fits(60, 7), "160 - 20 - 56 is more than 60 + 7 and a page"
    assert not given.fits(60, 8)
    assert len(asked) == 1
