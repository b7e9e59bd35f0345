"""Files that we write: for their owner alone while they grow, in place all at once, through no trap."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from kaitoctl.commands import files
from kaitoctl.errors import InputError
from kaitoctl.sandbox.cluster import cluster

CONTENT = "kind: Workspace\n"


def test_a_manifest_is_replaced_all_at_once_and_grows_where_only_its_owner_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "manifest.yaml"
    file.write_text(CONTENT)
    file.chmod(0o644)
    opened, seen = os.fdopen, []

    def watched(handle: int, *arguments: Any) -> Any:
        seen.append((stat.S_IMODE(os.fstat(handle).st_mode), file.read_text()))
        return opened(handle, *arguments)

    monkeypatch.setattr(os, "fdopen", watched)
    files.replace(str(file), "new\n")
    assert seen == [(0o600, CONTENT)]
    assert file.read_text() == "new\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [one.name for one in tmp_path.iterdir()] == [file.name]


def test_a_manifest_that_cannot_be_written_stays_whole_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "manifest.yaml"
    file.write_text(CONTENT)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="No space left"):
        files.replace(str(file), "new\n")
    assert file.read_text() == CONTENT
    assert [one.name for one in tmp_path.iterdir()] == [file.name]


async def write(place: Path) -> None:
    async with cluster(crds=[]) as running:
        running.write_kubeconfig(place)


@pytest.mark.parametrize("trap", ["file", "dangling"])
def test_a_link_that_lies_in_wait_for_a_kubeconfig_is_not_written_through(tmp_path: Path, trap: str) -> None:
    """The sandbox's token goes into a new file in the link's place, which nobody else may read."""
    victim = tmp_path / "victim"
    if trap == "file":
        victim.write_text("theirs")
        victim.chmod(0o666)
    place = tmp_path / "kubeconfig"
    place.symlink_to(victim)
    before = os.umask(0)
    try:
        asyncio.run(write(place))
    finally:
        os.umask(before)
    assert not place.is_symlink()
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert not victim.exists() or victim.read_text() == "theirs"
