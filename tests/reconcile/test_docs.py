"""The example in docs/reconcile-library.md does what the page says."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from reconcile.api_server import ApiServer
from virtual_time import run

from kaitoctl.kube.objects import CONFIG_MAP, NAMESPACE, ObjectKey

PAGE = Path(__file__).parents[2] / "docs" / "reconcile-library.md"


def example() -> dict[str, Any]:
    [source] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(source, str(PAGE), "exec"), names)
    return names


def test_example_of_the_page_works() -> None:
    async def played() -> None:
        api = ApiServer()
        api.put(NAMESPACE, "a", metadata={"labels": {"team": "red"}})
        api.put(NAMESPACE, "b", metadata={"labels": {"team": "blue"}})
        api.put(NAMESPACE, "c")
        api.put(CONFIG_MAP, "team", namespace="b", data={"team": "somebody else's"})

        def teams() -> dict[str, str]:
            return {key.namespace: obj["data"]["team"] for key, obj in api.all(CONFIG_MAP).items()}

        async with api.running() as client:
            running = asyncio.create_task(example()["main"](client))
            await asyncio.sleep(5)
            assert teams() == {"a": "red", "b": "somebody else's"}
            api.remove(CONFIG_MAP, "team", namespace="b")
            api.put(NAMESPACE, "c", metadata={"labels": {"team": "green"}})
            await asyncio.sleep(5)
            assert teams() == {"a": "red", "b": "blue", "c": "green"}
            api.put(NAMESPACE, "a", metadata={"labels": {"team": "gold"}})
            api.put(NAMESPACE, "c")
            await asyncio.sleep(5)
            assert teams() == {"a": "gold", "b": "blue"}
            edited = dict(api.all(CONFIG_MAP)[ObjectKey("a", "team")])
            api.put(CONFIG_MAP, "team", namespace="a", metadata=edited["metadata"], data={"team": "edited"})
            await asyncio.sleep(5)
            assert teams() == {"a": "gold", "b": "blue"}
            writes = api.writes
            await asyncio.sleep(3600)
            assert api.writes == writes
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    run(played())
