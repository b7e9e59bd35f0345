"""Values that hypothesis tries in more than one file."""

from __future__ import annotations

from hypothesis import strategies as st

TEXT = st.one_of(
    st.text(max_size=40),
    st.text("\n :#-{}[]'\"|>&*!%@`\\,?=<~0x1eE.+_$\ttrue", max_size=20),
    st.sampled_from(
        ["a: b", "x\n---\ny: 1", "0.2", "1e3", "null", "yes", "2024-01-01", "{{ 7 * 7 }}", "{% raw %}", "- x"]
    ),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
