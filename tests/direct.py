"""The in-memory cluster as the commands see one: what they ask of a client, without sockets."""

from __future__ import annotations

from world import World

from kaitoctl.kube.objects import Kind, Object
from kaitoctl.kube.request import Request
from kaitoctl.kube.response_bodies import ObjectList


class Direct:
    """Answers requests by calling the sandbox's API."""

    namespace = "default"

    def __init__(self, world: World) -> None:
        self.world = world

    async def send(self, asked: Request) -> Object:
        return self.world.do(asked)

    async def list(
        self, kind: Kind, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> ObjectList:
        chosen = {"labelSelector": label_selector, "fieldSelector": field_selector}
        query = {key: text for key, text in chosen.items() if text}
        return ObjectList(self.world.do(Request("GET", kind.path(namespace), query=query))["items"], "")
