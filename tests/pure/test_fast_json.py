"""Bodies are written as API servers write them, and read as `json` reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from strategies import JSON

from kaitoctl.kube import fast_json
from kaitoctl.kube.response_bodies import html_safe


def test_text_is_written_as_api_servers_write_it() -> None:
    written = html_safe(fast_json.encode({"a": "<b> & \u2028\u2029 café"}))
    assert written == '{"a":"\\u003cb\\u003e \\u0026 \\u2028\\u2029 café"}'.encode()


@pytest.mark.parametrize("value", [{"half a pair": "\ud800"}, {"huge": 10**30}, [float("nan")]])
def test_what_msgspec_does_not_write_or_read_is_left_to_json(value: Any) -> None:
    assert str(fast_json.decode(json.dumps(value).encode())) == str(value)
    assert fast_json.encode(value) in (json.dumps(value, separators=(",", ":")).encode(), b"[null]")


def test_what_is_no_json_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        fast_json.decode(b"{")


@given(JSON)
def test_what_is_written_is_read_again(value: Any) -> None:
    assert fast_json.decode(html_safe(fast_json.encode(value))) == value
