"""The same tests on two servers: the sandbox's, and a real API server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from built import needed
from conformance.real import viewed
from controlplane import programs
from controlplane.plane import ControlPlane
from sandbox_api.serving import Client, running

SERVERS = ["sandbox", pytest.param("real", marks=pytest.mark.control_plane)]


@pytest.fixture(scope="session")
def bare_control_plane() -> Iterator[ControlPlane]:
    """A real API server with etcd and garbage collection, and nobody else who writes."""
    from controlplane.plane import running as running_plane

    found = needed(programs.find)
    with running_plane(found, bare=True) as plane:
        yield plane


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A server as if it were new, the sandbox's or a real one."""
    if request.param == "sandbox":
        with running() as started:
            yield started
    else:
        with viewed(request.getfixturevalue("bare_control_plane")) as view:
            yield view
