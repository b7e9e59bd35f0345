"""The engine: llama.cpp in this process, reached over loopback with a key that nobody else knows."""

from __future__ import annotations

import ctypes
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from kaitoctl.runtime.models import Model, broken

CONTEXT = 2048
"""Tokens of prompt and answer together, unless asked for otherwise."""


class Engine(Struct, frozen=True):
    """A running engine.

    Args:
        address: its base URL, without a slash at the end.
        key: to be sent as bearer token.
        server: the engine itself; it ends with this object.
    """

    address: str
    key: str
    server: Any


def start(
    model: Model, adapters: Sequence[Path], *, name: str = "", threads: int = 1, context: int = CONTEXT
) -> Engine:
    """Load a model with adapters, all at strength 0; each request says its strengths.

    One slot: answers are made one after the other, so that no cache of another strength is ever read.

    Args:
        model: what to load.
        adapters: GGUF files; their position is their id.
        name: what answers call the model.
        threads: of computation. More make it slower on a machine with other work.
        context: tokens of prompt and answer.

    Raises:
        InputError: the engine cannot load it.
    """
    import xllamacpp

    key = secrets.token_urlsafe(24)
    settings = xllamacpp.CommonParams()
    settings.model.path = os.fspath(model.path)
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    settings.model_alias = {name or model.path.stem}
    settings.api_keys = [key]
    settings.n_ctx = context
    settings.n_parallel = 1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.n_gpu_layers = 0
    settings.cache_ram_mib = 0  # would keep prompts of other strengths
    settings.use_jinja = True
    settings.endpoint_metrics = True
    settings.verbosity = 1  # errors
    settings.ui = settings.fit_params = False
    # Sums in one order: answers at strength 0 are those of the model alone. The cache is as precise as the
    # weights: of a model whose weights were rounded, one in f32 takes as much memory as the model itself.
    kinds = xllamacpp.ggml_type
    kind = kinds.GGML_TYPE_F32 if model.is_f32 else kinds.GGML_TYPE_F16
    settings.cache_type_k = settings.cache_type_v = kind
    settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    loras = []
    for path in adapters:
        lora = xllamacpp.CommonAdapterLoraInfo()
        lora.path, lora.scale = os.fspath(path), 0.0
        loras.append(lora)
    settings.lora_adapters = loras
    try:
        server = xllamacpp.Server(settings)
    except RuntimeError as error:
        raise broken(model.path, "could not be loaded by the engine; its words are above") from error
    _give_memory_back()
    return Engine(server.listening_address, key, server)


def _give_memory_back() -> None:
    """Let glibc return what reading the adapters and the vocabulary took; elsewhere nothing happens."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
