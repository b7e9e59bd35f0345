"""What the controller's operator chooses for all Workspaces."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.kaito.catalog import DEFAULT_REGISTRY, SHIPPED, Catalog


class Rights(NamedTuple):
    """What the operator lets custom pods and volumes have: see the fields of `Settings`."""

    privileged: bool = False
    service_accounts: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    scheduling: bool = False


class Settings(Struct, frozen=True):
    """What the controller's operator chooses for all Workspaces.

    Args:
        registry: where public preset images are pulled from.
        image_generation: that everything is made in (`image_generations.IMAGE_GENERATIONS`); empty for the
            newest that has the Workspace's preset.
        most_nodes: a Workspace that asks for more nodes is refused: it guards against a mistyped count.
        downloader_image: fetches data for tuning from URLs; has `sh` and `curl`.
        pusher_image: pushes what tuning made, without any privilege; has `/busybox/sh` and `crane`.
        adapter_base_image: what the pushed image is built on; needs `sh`, `ls` and `cp`, by which adapters
            are loaded.
        allows_privileged_templates: custom pods may have what the baseline Pod Security Standard forbids:
            whoever may write Workspaces gets at the nodes' files and network by them.
        template_service_accounts: the ServiceAccounts that custom pods may run as, with their tokens.
        template_secrets: the Secrets that custom pods may read; `*` in either for all.
        allows_template_scheduling: custom pods may choose a node, a priority, a runtime, or a scheduler, and
            tolerate the taints of Kubernetes itself.
        provisioner: KAITO v0.12's `--node-provisioner`, whose labels its pods demand of their nodes; empty
            for kaitoctl's own controller, which takes prepared nodes as well.
        cloud: KAITO's `CLOUD_PROVIDER`.
        context: the tokens that a model of KAITO v0.12 is to have room for, as the Workspace's ConfigMap
            says; 0 where it says nothing.
        has_local_nvme: whether the StorageClass `kaito-local-nvme-disk` is there, for the weights.
        catalog: of presets, models and instance types.
    """

    registry: str = DEFAULT_REGISTRY
    image_generation: str = ""
    most_nodes: int = 64
    downloader_image: str = "docker.io/curlimages/curl:8.10.1"
    pusher_image: str = "gcr.io/go-containerregistry/crane/debug:v0.20.2"
    adapter_base_image: str = "docker.io/library/busybox:1.36.1"
    allows_privileged_templates: bool = False
    template_service_accounts: frozenset[str] = frozenset()
    template_secrets: frozenset[str] = frozenset()
    allows_template_scheduling: bool = False
    provisioner: str = ""
    cloud: str = "azure"
    context: int = 0
    has_local_nvme: bool = False
    catalog: Catalog = SHIPPED

    def allowing(self, rights: Rights) -> Settings:
        """The settings with these rights."""
        return replace(
            self,
            allows_privileged_templates=rights.privileged,
            template_service_accounts=rights.service_accounts,
            template_secrets=rights.secrets,
            allows_template_scheduling=rights.scheduling,
        )
