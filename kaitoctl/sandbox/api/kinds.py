"""The kinds that the API serves: the built-in ones, and those of CustomResourceDefinitions. Pure."""

from __future__ import annotations

from collections.abc import Collection

from kaitoctl.kube.objects import Object
from kaitoctl.sandbox import crd
from kaitoctl.sandbox.builtin import BUILTIN, CRDS, Resource
from kaitoctl.sandbox.store import Store


class Kinds:
    """What is served now, by group, version and plural."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.resources: dict[tuple[str, str, str], Resource] = {}

    def learn(self) -> None:
        """Forget what was served, and serve what the store's definitions say."""
        self.resources.clear()
        for resource in BUILTIN:
            self.serve(resource)
        for entry in list(self._store.entries(CRDS.name)):
            self.define(entry.obj)

    def serve(self, resource: Resource) -> None:
        """Serve a resource from now on."""
        kind = resource.kind
        self.resources[kind.group, kind.version, kind.plural] = resource

    def resource_of(self, name: str) -> Resource | None:
        """Any served version of a resource like `deployments.apps`, the stored one when it is served."""
        plural, _, group = name.partition(".")
        found = None
        for (its_group, version, its_plural), resource in self.resources.items():
            if (its_group, its_plural) == (group, plural):
                found = resource if found is None or version == resource.storage_version else found
        return found

    def namespaced(self) -> list[str]:
        """The names of the resources whose objects live in namespaces."""
        return list({item.name: 0 for item in self.resources.values() if item.kind.namespaced})

    def is_empty(self, resource: Resource, name: str) -> bool:
        """Whether a namespace or CRD has no content."""
        if resource is CRDS:
            return not self._store.count(name)
        return not any(self._store.count(content, name) for content in self.namespaced())

    def define(self, definition: Object) -> None:
        """Serve the versions that a CRD serves, and no other."""
        spec, names = definition["spec"], definition["spec"]["names"]
        group, plural = spec["group"], names["plural"]
        storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
        earlier = self.resource_of(f"{plural}.{group}")
        wanted: dict[tuple[str, str, str], Resource] = {}
        for version in spec["versions"]:
            if version.get("served"):
                wanted[group, version["name"], plural] = crd.resource_of(definition, version, storage)
        self._drop(group, plural, but=wanted)
        # A watch or a request never sees an older schema than the last one accepted.
        for resource in wanted.values():
            self.serve(resource)
        now = self.resource_of(f"{plural}.{group}")
        if earlier is not None and now is not None and earlier.schema != now.schema:
            self._store.rewrite(now.name, lambda obj: crd.as_stored(now, obj))

    def withdraw(self, definition: Object) -> None:
        """Stop serving what a CRD defined."""
        group, plural = definition["spec"]["group"], definition["spec"]["names"]["plural"]
        self._drop(group, plural, but=())

    def _drop(self, group: str, plural: str, *, but: Collection[tuple[str, str, str]]) -> None:
        served = [key for key in self.resources if key[0] == group and key[2] == plural]
        for key in served:
            if key not in but:
                del self.resources[key]
