"""`kaitoctl adapter check` and `pack`: folders and archives, whole and hostile."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runtime import tiny
from runtime.test_server import BROKEN

from kaitoctl.kaito.adapter_files.codes import CODES


def kaitoctl(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kaitoctl", *map(str, arguments)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


def checked(path: Path, *arguments: object) -> tuple[int, dict[str, dict[str, object]], str]:
    """Exit code, findings by code, what was said."""
    done = kaitoctl("adapter", "check", path, "-o", "json", *arguments)
    found = json.loads(done.stdout)["findings"] if done.stdout else []
    return done.returncode, {item["code"]: item for item in found}, done.stderr


PLAIN: dict[str, Any] = {"rank": 4, "lora_alpha": 4}


def test_a_plain_adapter_has_nothing_to_say_about(tmp_path: Path) -> None:
    base = tiny.model(tmp_path / "base")
    assert checked(tiny.adapter(tmp_path / "a", **PLAIN), "--base", base)[:2] == (0, {})


@pytest.mark.parametrize("name", sorted({*BROKEN} - {"NaN"}))  # values are read when it is merged
def test_what_the_runtime_refuses_is_found_before(name: str, tmp_path: Path) -> None:
    damage, code = BROKEN[name]
    folder = tiny.adapter(tmp_path / "a", **PLAIN)
    damage(folder)
    status, found, _ = checked(folder, "--base", tiny.model(tmp_path / "base"))
    assert status == 1
    assert {key for key, item in found.items() if item["refused"]} == {code}


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        (
            {"rank": 4, "lora_alpha": 16, "use_rslora": True},
            "adapter-rslora",
            "2 times too strong, even alone",
        ),
        ({"rank": 4, "lora_alpha": 8}, "adapter-alpha-not-rank", "beside others, acts 2 times as strong"),
        ({**PLAIN, "alpha_pattern": {"q_proj": 8}}, "adapter-patterns", "of one for all layers"),
        (
            {**PLAIN, "lora_bias": False, "eva_config": None},
            "adapter-config-too-new",
            "argument 'eva_config'",
        ),
    ],
)
def test_what_kaito_gets_wrong_is_a_note(
    settings: dict[str, Any], code: str, words: str, tmp_path: Path
) -> None:
    status, found, _ = checked(tiny.adapter(tmp_path / "a", **settings))
    assert status == 0
    assert words in json.dumps(found[code]["kaito"])
    assert kaitoctl("explain", code).returncode == 0


def test_the_base_is_compared_by_name_and_files_that_nobody_needs_are_named(tmp_path: Path) -> None:
    folder = tiny.adapter(tmp_path / "a", **PLAIN, base_model_name_or_path="org/other")
    (folder / "optimizer.pt").write_bytes(b"x" * 1000)
    status, found, said = checked(folder, "--preset", "falcon-7b")
    assert status == 0
    assert set(found) == {"adapter-base-name-differs", "adapter-too-many-files"}
    assert "into the model that it was trained on" in said, "shapes of the preset's model were not compared"


def test_a_base_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    status, _, said = checked(tiny.adapter(tmp_path / "a", **PLAIN), "--base", file)
    assert status == 2
    assert "give the Hugging Face folder" in said


def test_every_code_is_used() -> None:
    import kaitoctl as package

    source = Path(package.__file__).parent
    text = "".join(
        path.read_text()
        for path in source.rglob("*.py")
        if path.name != "codes.py" and "quick" not in path.name
    )
    unused = {code for code in CODES if code not in text}
    assert unused <= {"adapter-strength-ignored"}  # known from a Workspace alone, not from files


# --- archives -----------------------------------------------------------------------------


def test_what_was_packed_is_judged_like_its_folder_and_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    folder = tiny.adapter(tmp_path / "a", use_rslora=True)
    (folder / "deep").mkdir()
    (folder / "deep" / "note.txt").write_text("hello")
    digests = []
    for name in ("one.tar", "two.tar"):
        done = kaitoctl("adapter", "pack", folder, "-o", tmp_path / name)
        assert done.returncode == 0, done.stderr
        digests.append(done.stdout)
        os.utime(folder / "adapter_config.json", (0, 0))
    assert digests[0] == digests[1]
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    assert checked(tmp_path / "one.tar") == (0, checked(folder)[1], checked(tmp_path / "one.tar")[2])
    with tarfile.open(tmp_path / "one.tar") as archive:
        archive.extractall(tmp_path / "layout", filter="data")
    assert checked(tmp_path / "layout")[1] == checked(folder)[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "layout", "one.tar", "two.tar"]


def test_pack_refuses_what_cannot_be_served_and_what_is_there(tmp_path: Path) -> None:
    folder, target = tiny.adapter(tmp_path / "a", use_dora=True), tmp_path / "a.tar"
    done = kaitoctl("adapter", "pack", folder, "-o", target)
    assert (done.returncode, target.exists()) == (2, False)
    assert "adapter-dora" in done.stderr
    assert kaitoctl("adapter", "pack", folder, "-o", target, "--unchecked").returncode == 0
    assert kaitoctl("adapter", "pack", folder, "-o", target, "--unchecked").returncode == 2
    (folder / "link").symlink_to("/etc/passwd")
    done = kaitoctl("adapter", "pack", folder, "-o", target, "--unchecked", "--overwrite")
    assert done.returncode == 2
    assert "adapter-archive-unsafe" in done.stderr


def tarred(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


def bomb(path: Path) -> Path:
    with gzip.open(path, "wb", compresslevel=9) as file, tarfile.open(fileobj=file, mode="w|") as archive:
        large = tarfile.TarInfo("adapter_model.bin")
        large.size = 128 << 20
        archive.addfile(large, Zeros())
    return path


class Zeros(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        return bytes(size)


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "up": lambda at: tarred(at / "x.tgz", (entry("../adapter_config.json"), b"{}")),
    "deep up": lambda at: tarred(at / "x.tgz", (entry("data/a/../../../b"), b"{}")),
    "absolute": lambda at: tarred(at / "x.tgz", (entry("/etc/passwd"), b"{}")),
    "symlink": lambda at: tarred(at / "x.tgz", (entry("data/l", tarfile.SYMTYPE, "/etc"), b"")),
    "data is a link": lambda at: tarred(at / "x.tgz", (entry("data", tarfile.SYMTYPE, "/etc"), b"")),
    "hard link": lambda at: tarred(at / "x.tgz", (entry("data/l", tarfile.LNKTYPE, "/etc/passwd"), b"")),
    "device": lambda at: tarred(at / "x.tgz", (entry("data/null", tarfile.CHRTYPE), b"")),
    "pipe": lambda at: tarred(at / "x.tgz", (entry("data/pipe", tarfile.FIFOTYPE), b"")),
    "bomb": lambda at: bomb(at / "x.tgz"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused(name: str, tmp_path: Path) -> None:
    status, found, words = checked(HOSTILE[name](tmp_path))
    assert (status, found) == (2, {})
    assert "adapter-archive-unsafe" in words
    assert [path.name for path in tmp_path.iterdir()] == ["x.tgz"]


@pytest.mark.parametrize("name", HOSTILE)
def test_of_hostile_archives_nothing_gets_into_a_sandbox(name: str, tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    archive, state = HOSTILE[name](tmp_path / "from"), tmp_path / "state"
    load = ("sandbox", "image", "load", archive, "--as", "example.org/style:1")
    done = kaitoctl(*load, KAITOCTL_STATE_DIR=str(state))
    assert (done.returncode, "adapter-archive-unsafe" in done.stderr) == (2, True), done.stderr
    assert not [path for path in state.rglob("*") if not path.is_dir()]
    assert {path.name for path in tmp_path.rglob("*")} == {
        *("from", "x.tgz", "state", "sandbox", "default", "images"),
    }


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08 cut"])
def test_what_is_no_archive(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(content)
    status, _, words = checked(path)
    assert (status, "Traceback" in words) == (2, False)
    assert str(path) in words
