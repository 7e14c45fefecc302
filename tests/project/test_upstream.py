"""The page on other people's tests says what its record says."""

from __future__ import annotations

import json

from benchmarks.upstream.__main__ import compared
from benchmarks.upstream.page import PAGE, RECORD, page


def test_the_page_is_written_from_its_record() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(json.loads(RECORD.read_text(encoding="utf-8")))


def test_what_differs_is_found() -> None:
    passed = {"outcome": "passed", "why": "", "fits": [[3, 1]]}
    plain = {name: passed for name in "abcd"} | {"e": {"outcome": "failed", "why": "its own", "fits": []}}
    refused = {"outcome": "failed", "why": "ValueError: expected", "fits": []}
    quiet = {"a": passed, "b": {**passed, "fits": [[4, 1]]}, "c": refused, "e": refused}
    nights = {**plain, "b": {**passed, "fits": [[9, 1]]}}
    found = compared({"plain": plain, "quiet": quiet, "nights": nights})
    assert found["differ"] == {
        "b": {"quiet": "other values"},
        "c": {"quiet": "ValueError: expected"},
        "d": {"quiet": "missing"},
    }
    assert found["outcomes"]["plain"] == {"passed": 4, "failed": 1}
