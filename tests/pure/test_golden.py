"""What every preset becomes, in every combination: golden files show a change.

A file has the plainest combination in full, and of the others what the last step to each of them changes, or
why it is refused: every such change once, under the first combination that has it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import pytest
from builders import adapter, workspace

from kaitoctl.kaito import catalog, tuning
from kaitoctl.kaito.desired import Settings
from kaitoctl.kaito.node_claims import node_claim
from kaitoctl.kube.objects import Object, key_of
from kaitoctl.kube.yaml_writer import to_yaml
from kaitoctl.workspace_controller import children_of, refusal_of

IMAGE_GENERATIONS = ("v0.4", "v0.3")
Golden = Callable[[str, str], None]


class Combination(NamedTuple):
    """The plainest value of each comes first; a combination is compared with the one a step plainer."""

    generation: str = "v0.4"
    runtime: str = "transformers"
    gpus: int = 1
    nodes: int = 1
    access: str = ""
    service: str = ""
    adapters: int = 0

    @property
    def words(self) -> str:
        found = [
            f"images {self.generation}",
            self.runtime,
            _many(self.nodes, "node"),
            _many(self.gpus, "GPU"),
        ]
        return ", ".join(
            [*found, *filter(None, (self.access, self.service)), _many(self.adapters, "adapter")]
        )


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


VALUES: dict[str, tuple[Any, ...]] = {
    "generation": IMAGE_GENERATIONS,
    "runtime": ("transformers", "vllm"),
    "gpus": (1, 2),
    "nodes": (1, 2),
    "access": ("", "private image"),
    "service": ("", "load balancer"),
    "adapters": (0, 1, 2),
}
BALANCED = Combination(service="load balancer")
COMBINATIONS = (
    *(one for one in map(Combination._make, product(*VALUES.values())) if not one.service),
    BALANCED,  # concerns nothing but the Service
)


def plainer(one: Combination) -> Combination:
    """The combination that lacks the last step of this one."""
    for name in reversed(VALUES):
        at = VALUES[name].index(getattr(one, name))
        if at:
            return one._replace(**{name: VALUES[name][at - 1]})
    return one


def adapters(count: int) -> list[Object]:
    made = [
        adapter(f"style-{number}", f"registry.example/style-{number}:1") for number in range(1, count + 1)
    ]
    for number, item in enumerate(made, 1):
        item["source"]["imagePullSecrets"] = [f"pull-{number}"]
    return made


def asked(preset: str, of: Combination) -> Object:
    """The Workspace: on nodes that are large enough for any preset, so that nothing else is refused."""
    known = catalog.presets()[preset]
    named: Object = {"name": preset}
    if known.access_mode == "private" or of.access:
        options = {"image": "registry.example/own:1", "imagePullSecrets": ["own"]}
        named |= {"accessMode": "private", "presetOptions": options}
    inference: Object = {"preset": named}
    if of.adapters:
        inference["adapters"] = adapters(of.adapters)
    annotations = {} if of.runtime == "transformers" else {"kaito.sh/runtime": of.runtime}
    if of.service:
        annotations["kaito.sh/enablelb"] = "True"
    resource = {"count": of.nodes, "instanceType": "large-enough"}
    metadata = {"annotations": annotations} if annotations else {}
    return workspace("w", inference=inference, resource=resource, metadata=metadata)


def objects(ws: Object, *, gpus: int, settings: Settings) -> list[Object] | str:
    """What is made for a Workspace, the node that it may ask for first; or why nothing is."""
    if refused := refusal_of(ws, settings):
        return refused
    made = [child.manifest for child in children_of(ws, gpus=gpus, settings=settings)]
    for item in made:
        if item["kind"] == "Job":  # a hash of the whole question says nothing to a reader
            item["metadata"]["annotations"][tuning.MADE_FROM] = "..."
    return [node_claim(ws, "a-node", settings), *made]


def flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf with its path; entries of lists go by their name where they have one."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from flat(below, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for index, below in enumerate(value):
            name = below.get("name") or below.get("key") if isinstance(below, dict) else None
            yield from flat(below, f"{path}[{name or index}]")
    else:
        yield path, json.dumps(value, ensure_ascii=False)


def leaves(made: list[Object]) -> dict[str, str]:
    return {
        f"{item['kind']}/{key_of(item).name} {path}": value for item in made for path, value in flat(item)
    }


def difference(before: list[Object], after: list[Object]) -> str:
    old, new = leaves(before), leaves(after)
    gone = [f"- {path}: {value}" for path, value in old.items() if new.get(path) != value]
    come = [f"+ {path}: {value}" for path, value in new.items() if old.get(path) != value]
    return "\n".join([*gone, *come]) or "no difference"


class Report:
    """The text of a golden file: each change once, with the number of combinations that have it."""

    def __init__(self, title: str, made: list[Object] | str) -> None:
        documents = made if isinstance(made, str) else "---\n".join(map(to_yaml, made)).rstrip("\n")
        self._plainest = f"=== {title}\n{documents}\n"
        self._changes: dict[str, list[str]] = {}

    def add(self, title: str, before: list[Object] | str, after: list[Object] | str) -> None:
        if isinstance(after, str):
            text = f"refused: {after}"
        else:
            assert not isinstance(before, str), f"{title} is possible, and what is plainer is not"
            text = difference(before, after)
        self._changes.setdefault(text, []).append(title)

    @property
    def text(self) -> str:
        shown = (
            f"=== {titles[0]}" + (f" (and {len(titles) - 1} more)" if titles[1:] else "") + f"\n{text}\n"
            for text, titles in self._changes.items()
        )
        return self._plainest + "".join(shown)


@pytest.mark.parametrize("preset", sorted(catalog.presets()))
def test_what_a_preset_becomes(preset: str, golden: Golden) -> None:
    made = {
        one: objects(asked(preset, one), gpus=one.gpus, settings=Settings(image_generation=one.generation))
        for one in COMBINATIONS
    }
    plainest = COMBINATIONS[0]
    report = Report(f"{preset}: {plainest.words}", made[plainest])
    for one in COMBINATIONS[1:]:
        report.add(one.words, made[plainer(one)], made[one])
    golden(f"desired/{preset}.txt", report.text)


# --- custom pods -------------------------------------------------------------------------------------------


def custom(**spec: Any) -> Object:
    server = {"name": "server", "image": "registry.example/server:1", **spec}
    return workspace("w", inference={"preset": None, "template": {"spec": {"containers": [server]}}})


def test_what_a_custom_pod_becomes(golden: Golden) -> None:
    def made(ws: Object) -> list[Object] | str:
        return objects(ws, gpus=1, settings=Settings())

    port, balanced = custom(ports=[{"containerPort": 8000}]), custom(ports=[{"containerPort": 8000}])
    balanced["metadata"]["annotations"] = {"kaito.sh/enablelb": "True"}
    several = custom(ports=[{"containerPort": 8000}, {"containerPort": 53, "protocol": "UDP"}])
    own = custom(ports=[{"containerPort": 8000}])
    own["inference"]["template"]["spec"] |= {
        "tolerations": [{"key": "team", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
    }
    nodes = custom(ports=[{"containerPort": 8000}])
    nodes["resource"]["count"] = 2
    report = Report("a custom pod without ports", made(custom()))
    report.add("with a port", made(custom()), made(port))
    for title, ws in (
        ("with a load balancer", balanced),
        ("with two ports", several),
        ("with affinity and tolerations of its own", own),
        ("on two nodes", nodes),
    ):
        report.add(title, made(port), made(ws))
    golden("desired/custom-pod.txt", report.text)


# --- tuning ------------------------------------------------------------------------------------------------


class Tuning(NamedTuple):
    """As `Combination`, of what tuning can be asked for."""

    generation: str = "v0.4"
    method: str = "qlora"
    source: str = "urls"
    gpus: int = 1
    access: str = ""
    config: str = ""

    @property
    def words(self) -> str:
        found = [
            f"images {self.generation}",
            self.method,
            f"data from {self.source}",
            _many(self.gpus, "GPU"),
        ]
        return ", ".join([*found, *filter(None, (self.access, self.config))])


TUNING_VALUES: dict[str, tuple[Any, ...]] = {
    "generation": IMAGE_GENERATIONS,
    "method": ("qlora", "lora"),
    "source": ("urls", "image"),
    "gpus": (1, 2),
    "access": ("", "private image"),
    "config": ("", "configuration of one's own"),
}
TUNINGS = tuple(Tuning(*values) for values in product(*TUNING_VALUES.values()))


def tuned(preset: str, of: Tuning) -> Object:
    named: Object = {"name": preset}
    if of.access or catalog.presets()[preset].access_mode == "private":
        options = {"image": "registry.example/own:1", "imagePullSecrets": ["own"]}
        named |= {"accessMode": "private", "presetOptions": options}
    urls = {"urls": ["https://data.example/a.json", "https://data.example/b.json"]}
    image = {"image": "registry.example/data:1", "imagePullSecrets": ["pull-data"]}
    asked: Object = {
        "preset": named,
        "method": of.method,
        "input": urls if of.source == "urls" else image,
        "output": {"image": "registry.example/adapter:1", "imagePushSecret": "push"},
    }
    if of.config:
        asked["config"] = "mine"
    return workspace(
        "w",
        inference=None,
        tuning=asked,
        resource={"count": 1, "instanceType": "large-enough"},
    )


def test_what_tuning_becomes(golden: Golden) -> None:
    """All presets in one file: they differ in their image, their flags and their disk."""

    def made(preset: str, of: Tuning) -> list[Object] | str:
        return objects(tuned(preset, of), gpus=of.gpus, settings=Settings(image_generation=of.generation))

    first, *others = sorted(tuning.tuning_presets())
    report = Report(f"{first}: {TUNINGS[0].words}", made(first, TUNINGS[0]))
    for one in TUNINGS[1:]:
        report.add(f"{first}: {one.words}", made(first, _plainer_tuning(one)), made(first, one))
    for preset in (*others, *sorted(set(catalog.presets()) - set(tuning.tuning_presets()))):
        for one in TUNINGS:
            report.add(f"{preset}: {one.words}", made(first, one), made(preset, one))
    golden("tuning.txt", report.text)


def _plainer_tuning(one: Tuning) -> Tuning:
    for name in reversed(TUNING_VALUES):
        at = TUNING_VALUES[name].index(getattr(one, name))
        if at:
            return one._replace(**{name: TUNING_VALUES[name][at - 1]})
    return one
