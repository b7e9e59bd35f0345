"""A kopf operator that makes the same writes for a Workspace as the controller; see `bench/controller.py`.

    python kopf_operator.py KUBECONFIG WRITES

Run with a Python that has kopf; kaitoctl itself does not use it.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from pathlib import Path
from typing import Any

import aiohttp
import kopf

CONFIG = json.loads(Path(sys.argv[1]).read_text())
CLUSTER, USER = CONFIG["clusters"][0]["cluster"], CONFIG["users"][0]["user"]
TOKEN = USER.get("token")
SERVER = CLUSTER["server"].removesuffix(f"/{TOKEN}")
ROUNDS = json.loads(Path(sys.argv[2]).read_text())
SESSION: list[aiohttp.ClientSession] = []


@kopf.on.login()
def login(**_: Any) -> kopf.ConnectionInfo:
    return kopf.ConnectionInfo(
        server=SERVER,
        token=TOKEN,
        ca_path=CLUSTER.get("certificate-authority"),
        certificate_path=USER.get("client-certificate"),
        private_key_path=USER.get("client-key"),
    )


def tls() -> ssl.SSLContext | bool:
    """With the client certificate, where the server has TLS."""
    if TOKEN:
        return True
    context = ssl.create_default_context(cafile=CLUSTER["certificate-authority"])
    context.load_cert_chain(USER["client-certificate"], USER["client-key"])
    return context


@kopf.on.startup()
async def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = False
    settings.networking.request_timeout = 60
    identity = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
    SESSION.append(
        aiohttp.ClientSession(
            headers={"User-Agent": "kopf", **identity},
            connector=aiohttp.TCPConnector(limit=0, ssl=tls()),
        )
    )


async def send(asked: dict[str, str], name: str, uid: str) -> None:
    body = asked["body"].replace("NAME", name).replace("UID", uid)
    async with SESSION[0].request(
        asked["method"],
        SERVER + asked["target"].replace("NAME", name),
        data=body,
        headers={"Content-Type": asked["content_type"]},
    ) as response:
        await response.read()
        if response.status >= 300:
            raise kopf.TemporaryError(f"HTTP {response.status}", delay=1)


@kopf.on.create("kaito.sh", "v1alpha1", "workspaces")
async def create(name: str, uid: str, patch: kopf.Patch, **_: Any) -> None:
    for round_ in ROUNDS:
        others = [asked for asked in round_ if "/status?" not in asked["target"]]
        await asyncio.gather(*(send(asked, name, uid) for asked in others))
        for asked in round_:
            if asked not in others:  # kopf's own way: it knows then which version of the object to expect
                patch.status.update(json.loads(asked["body"])["status"])


if __name__ == "__main__":
    kopf.configure(verbose=False, quiet=True)
    asyncio.run(kopf.operator(clusterwide=True))
