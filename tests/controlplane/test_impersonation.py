"""On a real API server: who asks on another's behalf has that one's rights, and no more."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from kaitoctl.errors import ApiError
from kaitoctl.kube.client import connect
from kaitoctl.kube.objects import NODE
from kaitoctl.kube.request import Request

if TYPE_CHECKING:
    from controlplane.plane import ControlPlane

REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def acting(plane: ControlPlane, folder: Path, **more: Any) -> Path:
    """The administrator's kubeconfig, on somebody else's behalf."""
    config = yaml.safe_load(Path(plane.kubeconfig).read_text())
    config["users"][0]["user"] |= more
    file = folder / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(config))
    return file


def who(file: Path) -> Any:
    async def asked() -> Any:
        async with connect(kubeconfig=file) as client:
            body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
            return (await client.send(Request("POST", REVIEW, body=body)))["status"]["userInfo"]

    return asyncio.run(asked())


def test_the_server_sees_the_user_with_groups_uid_and_all_else(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    extra = {"example.com/Project 100%": ["x"], "grün": ["grün"], "scopes": ["a", "b"]}
    meant = {"as": "jörg", "as-uid": "4711", "as-groups": ["dev", "ops, eu"], "as-user-extra": extra}
    seen = who(acting(control_plane, tmp_path, **meant))
    assert (seen["username"], seen["uid"]) == ("jörg", "4711")
    assert seen["groups"] == ["dev", "ops, eu", "system:authenticated"]
    assert {key: sorted(values) for key, values in seen["extra"].items()} == {
        key.lower(): values for key, values in extra.items()
    }


def test_an_administrator_who_acts_for_somebody_else_may_do_less(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    async def listed(file: Path) -> int:
        async with connect(kubeconfig=file) as client:
            return len((await client.list(NODE)).items)

    asyncio.run(listed(acting(control_plane, tmp_path)))
    with pytest.raises(ApiError, match='User "jane" cannot list') as caught:
        asyncio.run(listed(acting(control_plane, tmp_path, **{"as": "jane"})))
    assert caught.value.status == 403
    asyncio.run(listed(acting(control_plane, tmp_path, **{"as": "jane", "as-groups": ["system:masters"]})))
