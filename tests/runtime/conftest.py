from __future__ import annotations

import pytest

pytest.importorskip("xllamacpp", reason="the extra kaitoctl[runtime] is not installed")
pytest.importorskip("gguf", reason="the extra kaitoctl[runtime] is not installed")
