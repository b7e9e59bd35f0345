"""What the command line says instead of the kubeconfig: `--server`, `--token`, `--as` and the like. Pure.

Source: client-go v0.37 `tools/clientcmd/client_config.go` (`getCluster`, `getAuthInfo`): what gives way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FILES = ("certificate-authority", "client-certificate", "client-key")
# By what is given: the keys of the kubeconfig that give way to it.
_GIVE_WAY = {
    "insecure-skip-tls-verify": ("certificate-authority", "certificate-authority-data"),
    "certificate-authority": ("certificate-authority-data", "insecure-skip-tls-verify"),
    "server": ("tls-server-name",),
    "client-certificate": ("client-certificate-data",),
    "client-key": ("client-key-data",),
    "token": ("tokenFile", "username", "password"),
}


@dataclass(frozen=True, slots=True)
class Overrides:
    """Which entries of the kubeconfig to use, and what to use instead of their keys.

    Args:
        cluster_name: of the cluster's entry; empty for the context's.
        user_name: of the user's entry; empty for the context's.
        cluster: keys of a cluster's entry, as a kubeconfig has them.
        user: keys of a user's entry.
    """

    cluster_name: str = ""
    user_name: str = ""
    cluster: Mapping[str, Any] = field(default_factory=dict)
    user: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def server(self) -> str:
        """The address of another server; empty for the kubeconfig's."""
        return str(self.cluster.get("server") or "")


def overridden(entry: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of a cluster or user with what is given; files are those of the present folder."""
    gone = {key for name in given for key in _GIVE_WAY.get(name, ())} - given.keys()
    kept = {key: value for key, value in entry.items() if key not in gone}
    named = {key: str(Path(value).absolute()) if key in _FILES else value for key, value in given.items()}
    return {**kept, **named}


NONE = Overrides()
