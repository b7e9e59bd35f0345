"""The server program from outside: what it serves, what it refuses, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from runtime import tiny

COMMAND = [sys.executable, "-m", "kaitoctl", "runtime", "serve"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from kaitoctl.runtime import hugging_face

    folder = tmp_path_factory.mktemp("tiny")
    return hugging_face.convert(tiny.model(folder / "hf"), folder / "tiny.gguf")


@contextmanager
def serving(*arguments: object) -> Iterator[tuple[str, list[str], subprocess.Popen[str]]]:
    """A server that has come up: its address, its log so far, the process."""
    command = [*COMMAND, "--port", "0", "--end-with-stdin", *map(str, arguments)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout and process.stdin
    with process:
        try:
            log = []
            for line in process.stdout:
                log.append(line.rstrip("\n"))
                if line.startswith("Serving on "):
                    break
            else:
                raise AssertionError(f"it ended: {log}")
            yield log[-1].removeprefix("Serving on "), log, process
        finally:
            process.kill()


def refused(*arguments: object) -> str:
    """What a server says that does not come up."""
    done = subprocess.run(
        [*COMMAND, "--port", "0", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert "Serving" not in done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def ask(url: str, body: object = None, **headers: str) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text, status = answer.read().decode(), answer.status
    except urllib.error.HTTPError as error:
        with error:
            text, status = error.read().decode(), error.code
    return status, json.loads(text) if text.startswith(("{", "[", '"')) else text


# --- the faces ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    folder = tmp_path_factory.mktemp("adapters")
    adapters = [tiny.adapter(folder / "a", 3), tiny.adapter(folder / "b", 4, dtype="BF16")]
    given = ["--adapter", f"style={adapters[0]},strength=0.2", "--adapter", f"tone={adapters[1]}"]
    with serving("--model", model, *given) as (address, log, _):
        yield address, log


def test_it_says_which_adapters_it_loaded_at_which_strength(server: tuple[str, list[str]]) -> None:
    address, log = server
    assert "Adapter added: style | strength: 0.2" in log
    assert "Adapter added: tone | strength: 1" in log
    (entry,) = ask(f"{address}/v1/models")[1]["data"]
    assert entry["id"] == "tiny"
    assert entry["adapters"] == [{"name": "style", "strength": 0.2}, {"name": "tone", "strength": 1.0}]
    assert 'kaitoctl_adapter_strength{adapter="style"} 0.2' in ask(f"{address}/metrics")[1]
    assert ask(f"{address}/health")[0] == ask(f"{address}/healthz")[0] == 200


CHAT = {
    "messages": [{"role": "user", "content": "hello"}],
    "max_tokens": 8,
    "temperature": 0,
    "logprobs": True,
}


def said(address: str, **fields: object) -> str:
    status, answer = ask(f"{address}/v1/chat/completions", {**CHAT, **fields})
    assert status == 200, answer
    assert answer["model"] == "tiny"
    return json.dumps(answer["choices"][0]["logprobs"])


def test_strengths_change_while_it_runs_and_for_one_request(server: tuple[str, list[str]]) -> None:
    address, _ = server
    before = ask(f"{address}/lora-adapters")[1]
    first, off = said(address), [{"id": 0, "scale": 0}, {"name": "tone", "scale": 0}]
    without = said(address, lora=off)
    assert without != first
    assert said(address) == first
    assert ask(f"{address}/lora-adapters", off)[0] == 200
    assert said(address) == without
    assert ask(f"{address}/lora-adapters", before)[1] == before
    assert said(address) == first


def test_it_streams(server: tuple[str, list[str]]) -> None:
    request = urllib.request.Request(
        f"{server[0]}/v1/chat/completions",
        json.dumps({**CHAT, "stream": True, "logit_bias": {"97": 100}}).encode(),
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        lines = [line.decode().strip() for line in answer if line.strip()]
    assert lines[-1] == "data: [DONE]"
    assert len(lines) > 8


def test_completions_and_the_chat_of_old_kaito(server: tuple[str, list[str]]) -> None:
    address, _ = server
    status, answer = ask(f"{address}/v1/completions", {"prompt": "ab", "max_tokens": 3})
    assert (status, answer["usage"]["completion_tokens"]) == (200, 3)
    short = {"max_length": 6, "do_sample": False}
    status, answer = ask(f"{address}/chat", {"prompt": "xyz", "generate_kwargs": short})
    assert status == 200
    assert answer["Result"].startswith("xyz")
    cut = ask(f"{address}/chat", {"prompt": "xyz", "return_full_text": False, "generate_kwargs": short})[1]
    assert answer["Result"] == f"xyz{cut['Result']}"
    assert list(ask(f"{address}/chat", {"messages": CHAT["messages"], "generate_kwargs": short})[1]) == [
        "Result"
    ]
    assert ask(f"{address}/chat", {}) == (400, {"detail": "Text generation parameter prompt required"})


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/lora-adapters", {"id": 0}, "send a list"),
        ("/lora-adapters", [{"id": 7, "scale": 1}], "no adapter 7; loaded: style (0), tone (1)"),
        ("/lora-adapters", [{"id": 0, "scale": "0,2"}], "must be a finite number"),
        ("/lora-adapters", [{"id": 0, "scale": float("nan")}], "must be a finite number"),
        ("/lora-adapters", [{"id": 0, "scale": 10**400}], "must be a finite number"),
        ("/v1/chat/completions", [1], "send a JSON object"),
        ("/v1/chat/completions", {**CHAT, "lora": [{"id": True, "scale": 1}]}, "no adapter True"),
    ],
)
def test_bad_requests_change_nothing(
    server: tuple[str, list[str]], path: str, body: object, words: str
) -> None:
    before = ask(f"{server[0]}/lora-adapters")
    status, answer = ask(f"{server[0]}{path}", body)
    assert status == 400
    assert words in answer["error"]["message"]
    assert ask(f"{server[0]}/lora-adapters") == before


def test_pages_of_elsewhere_and_whoever_has_no_key_are_kept_out(model: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sesame\n")
    with serving("--model", model, "--key-file", key) as (address, _, _):
        assert ask(f"{address}/v1/models")[0] == 401
        assert ask(f"{address}/v1/models", Authorization="Bearer sesam")[0] == 401
        assert ask(f"{address}/v1/models", Authorization="Bearer sesame")[0] == 200
        assert ask(f"{address}/health")[0] == 200  # for probes
        assert ask(f"{address}/health", Origin="https://example.org")[0] == 403
        assert ask(f"{address}/health", Host="example.org:80")[0] == 403


# --- how it ends ---------------------------------------------------------------------------


def test_it_ends_with_whoever_started_it(model: Path) -> None:
    with serving("--model", model) as (_, _, process):
        assert process.stdin
        process.stdin.close()
        assert process.wait(30) == 0


def test_nothing_that_was_converted_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    adapter = tiny.adapter(tmp_path / "a")
    for end in (signal.SIGKILL, signal.SIGTERM):
        with serving("--model", tiny.model(tmp_path / "m"), "--adapter", f"a={adapter}") as (_, _, process):
            process.send_signal(end)
            process.wait(30)
        assert list(scratch.iterdir()) == []


def refused_after(first: str, home: Path, *arguments: str) -> str:
    """What a command says that is refused in a process that begins with a statement."""
    program = f"import resource, sys; {first}; from kaitoctl.cli.app import app, run; sys.exit(run(app))"
    places = {"XDG_CACHE_HOME": str(home / "cache"), "KAITOCTL_STATE_DIR": str(home / "state")}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **places},
    )
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (2, "", False), done.stderr
    return done.stderr


def on_a_full_disk(home: Path, bytes_allowed: int, *arguments: str) -> str:
    """What a command says under a limit on the size of files, which fails as a full disk does."""
    limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes_allowed}, {bytes_allowed}))"
    return refused_after(limit, home, *arguments)


@pytest.mark.parametrize("bytes_allowed", [4096, 100_000])
def test_a_full_disk_is_named(bytes_allowed: int, tmp_path: Path) -> None:
    model = tiny.model(tmp_path / "m")
    words = on_a_full_disk(tmp_path, bytes_allowed, "runtime", "models", "pull", "mine", "--from", str(model))
    assert "mine.gguf" in words
    assert "is the disk full?" in words
    assert list((tmp_path / "cache" / "kaitoctl" / "models").iterdir()) == []


def test_a_full_disk_is_named_and_not_what_is_copied_to_it(tmp_path: Path) -> None:
    adapter, packed = tiny.adapter(tmp_path / "style"), tmp_path / "style.tar"
    words = on_a_full_disk(tmp_path, 4096, "adapter", "pack", str(adapter), "-o", str(packed))
    assert f"{packed}: File too large" in words
    assert not list(tmp_path.glob("*.tar*"))
    words = on_a_full_disk(
        tmp_path, 4096, "sandbox", "image", "load", str(adapter), "--as", "example.org/style:1"
    )
    images = tmp_path / "state" / "sandbox" / "default" / "images"
    assert f"{images}: File too large" in words
    assert "is the disk full?" in words
    assert list(images.iterdir()) == []


def test_it_ends_at_sigterm(model: Path) -> None:
    with serving("--model", model) as (_, _, process):
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


# --- what it refuses ---------------------------------------------------------------------------


def rewritten(**settings: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))

    return change


def weights(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        tensors = tiny.load(path)
        change(tensors)
        tiny.save(path, tensors)

    return changed


FIRST = "base_model.model.model.layers.0.self_attn.q_proj"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "DoRA": (rewritten(use_dora=True), "adapter-dora"),
    "DoRA by its tensors": (
        weights(
            lambda them: them.update({f"{FIRST}.lora_magnitude_vector": them[f"{FIRST}.lora_B.weight"][:, 0]})
        ),
        "adapter-dora",
    ),
    "modules_to_save": (rewritten(modules_to_save=["lm_head"]), "adapter-modules-to-save"),
    "IA3": (rewritten(peft_type="IA3"), "adapter-type-other"),
    "biases": (rewritten(bias="lora_only"), "adapter-variant"),
    "PiSSA": (rewritten(init_lora_weights="pissa_niter_4"), "adapter-variant"),
    "another model": (
        weights(lambda them: them.update({f"{FIRST}.lora_A.weight": them[f"{FIRST}.lora_A.weight"][:, :32]})),
        "adapter-of-other-model",
    ),
    "a module too many": (
        weights(
            lambda them: them.update({n.replace("layers.0", "layers.9"): t for n, t in list(them.items())})
        ),
        "adapter-of-other-model",
    ),
    "no pair": (weights(lambda them: them.pop(f"{FIRST}.lora_B.weight")), "adapter-tensor-unpaired"),
    "NaN": (
        weights(
            lambda them: them.update(
                {f"{FIRST}.lora_B.weight": them[f"{FIRST}.lora_B.weight"] * float("nan")}
            )
        ),
        "adapter-file-broken",
    ),
    "rank": (rewritten(r=8), "adapter-rank-differs"),
    "rank of nothing": (rewritten(r=0), "adapter-config-broken"),
    "alpha of nothing": (rewritten(lora_alpha=float("nan")), "adapter-config-broken"),
    "alpha beyond numbers": (rewritten(lora_alpha=10**400), "adapter-config-broken"),
    "no settings": (lambda at: (at / "adapter_config.json").unlink(), "adapter-config-missing"),
    "settings cut": (lambda at: (at / "adapter_config.json").write_text('{"r": '), "adapter-config-broken"),
    "no weights": (lambda at: (at / "adapter_model.safetensors").unlink(), "adapter-weights-missing"),
    "pickle": (
        lambda at: (at / "adapter_model.safetensors").rename(at / "adapter_model.bin"),
        "adapter-weights-pickled",
    ),
    "git-lfs": (lambda at: (at / "adapter_model.safetensors").write_text(POINTER), "adapter-lfs-pointer"),
    "empty": (lambda at: (at / "adapter_model.safetensors").write_bytes(b""), "adapter-file-broken"),
    "cut": (
        lambda at: (at / "adapter_model.safetensors").write_bytes(
            (at / "adapter_model.safetensors").read_bytes()[:-9]
        ),
        "adapter-file-broken",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_adapters_that_cannot_be_merged_are_refused_by_name(name: str, model: Path, tmp_path: Path) -> None:
    from kaitoctl.errors import InputError
    from kaitoctl.kaito.adapter_files.codes import CODES
    from kaitoctl.runtime import lora_to_gguf, models

    damage, code = BROKEN[name]
    folder = tiny.adapter(tmp_path / "a")
    damage(folder)
    with pytest.raises(InputError) as caught:
        lora_to_gguf.convert(lora_to_gguf.Adapter("style", folder), models.read(model), tmp_path)
    assert "style" in str(caught.value)
    assert {problem.partition(":")[0] for problem in caught.value.problems} == {code}
    assert code in CODES


def test_a_refused_adapter_ends_the_server_with_its_reason(model: Path, tmp_path: Path) -> None:
    folder = tiny.adapter(tmp_path / "a", use_dora=True)
    assert "adapter-dora" in refused("--model", model, "--adapter", f"style={folder}")


@pytest.mark.parametrize("strength", ["", "nan", "1e400", "0,2", "-1", "x", "0x10", "1_0", "\u0665"])
def test_strengths_that_are_no_numbers(strength: str, model: Path) -> None:
    assert "style" in refused("--model", model, "--adapter", f"style=.,strength={strength}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 something", "no GGUF file"),
        (b"GGUF", "not a complete GGUF file"),
        (POINTER.encode(), "git-lfs pointer"),
        (None, "No such file"),
    ],
)
def test_bad_model_files(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    text = refused("--model", path)
    assert words in text
    assert str(path) in text


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        ("llamx", "the architecture 'llamx'"),
        ("", "of which architecture"),
        ("llama", "no llama.attention.head_count"),
    ],
)
def test_model_files_that_do_not_say_what_they_are(architecture: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.gguf"
    texts = {"general.name": "odd", **({"general.architecture": architecture} if architecture else {})}
    settings = b"".join(
        struct.pack("<Q", len(key)) + key.encode() + struct.pack("<IQ", 8, len(text)) + text.encode()
        for key, text in texts.items()
    )
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(texts)) + settings + bytes(64))
    assert words in refused("--model", path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.99])
def test_model_files_that_are_cut_off(share: float, model: Path, tmp_path: Path) -> None:
    from kaitoctl.errors import InputError
    from kaitoctl.runtime import models

    path = tmp_path / "cut.gguf"
    data = model.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="not a complete GGUF file"):
        models.read(path)


def test_a_folder_of_another_architecture(tmp_path: Path) -> None:
    folder = tiny.model(tmp_path / "m", architectures=["FalconForCausalLM"])
    assert "cannot convert FalconForCausalLM" in refused("--model", folder)
    assert "no config.json" in refused("--model", tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        ("runtime", "serve", "--model", "tiny.gguf"),
        ("runtime", "models", "pull", "mine", "--from", "tiny.gguf"),
        ("sandbox", "model", "set", "falcon-7b", "--from", "tiny.gguf"),
        ("create", "workspace", "w", "--preset", "smollm2-135m-instruct", "--sandbox"),
    ],
    ids=" ".join,
)
def test_without_the_extra_the_command_that_installs_it_is_said(
    command: tuple[str, ...], model: Path, tmp_path: Path
) -> None:
    """A module that is None in `sys.modules` is to Python one that is not installed."""
    (tmp_path / "tiny.gguf").symlink_to(model)
    words = refused_after("sys.modules['xllamacpp'] = None", tmp_path, *command)
    assert "xllamacpp, which is not installed" in words
    assert "pip install 'kaitoctl[runtime]'" in words
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf"], "nothing was made or downloaded"


def test_two_servers_on_one_port(model: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        text = refused("--model", model, "--port", taken.getsockname()[1])
    assert "Address already in use" in text
    assert "--port 0" in text, "5000, where it is left out, may be the one that is taken"


def test_a_hugging_face_folder_is_served_as_it_is(tmp_path: Path) -> None:
    with serving("--model", tiny.model(tmp_path / "mine")) as (address, _, _):
        assert ask(f"{address}/v1/models")[1]["data"][0]["id"] == "mine"


def test_models_of_the_users_are_kept_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kaitoctl.errors import InputError
    from kaitoctl.runtime import model_store, models

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kept = model_store.take("mine", tiny.model(tmp_path / "m"))
    assert models.read(model_store.resolve("mine")).architecture == "llama"
    assert [row["path"] for row in model_store.list_models() if row["name"] == "mine"] == [str(kept)]
    (tmp_path / "bad.gguf").write_bytes(b"GGUF")
    with pytest.raises(InputError, match="not a complete GGUF"):
        model_store.take("other", tmp_path / "bad.gguf")
    with pytest.raises(InputError, match="no such model here"):
        model_store.resolve("smollm2-135m-instruct")
    assert [path.name for path in model_store.folder().iterdir()] == ["mine.gguf"]
