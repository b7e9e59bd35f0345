"""`kaitoctl create workspace`: render -> judge -> check nodes -> apply -> follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.advice import Command
from kaitoctl.commands import invocation, option_values
from kaitoctl.commands.new_manifest import ManifestOptions, RequestedManifest, judge, refusal_of, show
from kaitoctl.commands.option_values import ManagedBy
from kaitoctl.commands.target import Target
from kaitoctl.commands.workspace_options import WorkspaceOptions
from kaitoctl.errors import InputError
from kaitoctl.kaito import api, catalog_file, convert, manifest, templates, validation
from kaitoctl.kaito.validation import OWN
from kaitoctl.kaito.validation.releases import nearest
from kaitoctl.kaito.validation.subject import Subject
from kaitoctl.kube.objects import annotations_of
from kaitoctl.screens import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaitoctl.kaito.catalog import Catalog
    from kaitoctl.kaito.template_variables import GivenVariable
    from kaitoctl.kaito.validation import Setting
    from kaitoctl.kube.objects import Object

Completion = Callable[[manifest.WorkspaceRequest], manifest.WorkspaceRequest]


def create_workspace(*, name: str, given: WorkspaceOptions, managed: ManagedBy, target: Target) -> None:
    """Create or change a Workspace, and follow its rollout."""
    how = _settings(given, managed)
    _insist_on_registry(given.registry)
    known = catalog_file.read(given.catalog)
    local = known.preset(given.preset or "")
    if local is not None and local.local_model and given.instance_type is None:
        given = replace(given, instance_type=api.DEFAULT_INSTANCE_TYPE)  # any will do: it is simulated
    rendering = _rendering(name, given, known, target)
    said = managed.target_version or (OWN if target.sandbox else None)
    setting = validation.Setting(said, byo=managed.byo, catalog=known, provisioner=managed.node_provisioner)
    workspace = rendering.new((), setting)
    if (text := rendering.template[0]) is not None:  # what is wrong with the template itself comes first
        from kaitoctl.commands import user_template

        user_template.insist_on_options(given, text)
    if how.dry_run == "client":
        if not given.api_version and not setting.target:
            rendering.say_for_which_kaito(workspace, setting)
        judge(workspace, setting)
        show(workspace, how.output, "created (client dry run)")
        return
    refusal = refusal_of(workspace, setting, but=_open_fields(given))
    if refusal is not None and said is not None:
        raise refusal
    if local is not None and local.local_model:
        from kaitoctl.commands import local_presets

        local_presets.prepare(local, target)
    import asyncio  # a dry run need not pay for what asks a cluster

    from kaitoctl.commands import create_on_cluster

    wanted = RequestedManifest(
        name,
        str(workspace["metadata"].get("namespace") or ""),
        given.api_version,
        rendering.new,
        rendering.upon,
        rendering.without_strength,
        known,
        refusal,
    )
    try:
        asyncio.run(create_on_cluster.create(target, wanted, how))
    except KeyboardInterrupt:
        status = Command("kaitoctl status", name, *target.in_namespace, "-w")
        raise invocation.interrupted(
            target.text("what was already applied stays; " + status + " follows it")
        ) from None


def _settings(given: WorkspaceOptions, managed: ManagedBy) -> ManifestOptions:
    """What is to happen with the manifest.

    Raises:
        InputError: a value is not valid.
    """
    option_values.one_of(given.dry_run, ("none", "client", "server"), option="--dry-run")
    if given.output_format is not None:
        option_values.output_format(given.output_format, ("yaml", "json", "name"))
    if given.api_version is not None:
        option_values.one_of(given.api_version, api.VERSIONS, option="--api-version")
    if managed.is_said:
        from kaitoctl.commands.target_release import check_manager

        check_manager(managed)
    if given.smoke_test and not given.wait:
        raise InputError("--smoke-test and --no-wait exclude each other: it asks when the model is ready")
    return ManifestOptions(
        given.dry_run,
        given.output_format,
        given.wait,
        option_values.duration_s(given.timeout) if given.timeout else None,
        given.skip_node_check,
        given.force_conflicts,
        given.yes,
        given.replace,
        given.prices,
        given.smoke_test,
        managed,
    )


def _open_fields(given: WorkspaceOptions) -> tuple[str, ...]:
    """The fields that no option names: an existing Workspace may have them, so they are judged later."""
    is_open = {
        "resource.count": given.count is None,
        "resource.labelSelector": not given.label,
        "resource.instanceType": given.instance_type is None,
        "inference.preset.accessMode": given.private_image is None,
        "inference.preset.presetOptions": given.private_image is None,
    }
    return tuple(path for path, unnamed in is_open.items() if unnamed)


class _Rendering(Struct, frozen=True):
    """Renders what the options describe, for whichever version the cluster turns out to serve.

    Args:
        request: the Workspace as the options describe it.
        given: the options.
        template: text of a template and how errors name it; the text is None for the default.
        extra: variables of --values and --set.
        known: presets and instance types.
        namespace: of --namespace.
    """

    request: manifest.WorkspaceRequest
    given: WorkspaceOptions
    template: tuple[str | None, str]
    extra: Object
    known: Catalog
    namespace: str | None

    def new(self, served: Sequence[str], setting: Setting) -> Object:
        """The manifest of a Workspace that does not exist yet."""
        of_release = _served_by(setting)  # a CRD may be newer than the controller beside it
        both = [version for version in served if version in of_release]
        made = self._render(self._version(both or served or of_release, setting))
        return validation.loading_adapters(made, setting, self.without_strength)

    def upon(self, live: Object, setting: Setting) -> Object:
        """The manifest of a Workspace that exists, in its version."""
        from kaitoctl.kaito import merge_request

        named = {"count"} if self.given.count is not None else set()
        named |= {"labels"} if self.given.label else set()
        version = str(live["apiVersion"]).rpartition("/")[2]
        made = self._render(version, lambda asked: merge_request.complete_request(asked, live, named))
        if runtime := annotations_of(live).get(api.ANNOTATION_RUNTIME):
            # A runtime that somebody chose is theirs to change: the whole server restarts for it.
            notes = {**annotations_of(made), api.ANNOTATION_RUNTIME: runtime}
            made = {**made, "metadata": {**made["metadata"], "annotations": notes}}
        return validation.loading_adapters(made, setting, self.without_strength)

    @property
    def without_strength(self) -> frozenset[str]:
        """The adapters of which no option gives the strength."""
        texts = zip(self.request.adapters, self.given.adapter or (), strict=True)
        return frozenset(one.name for one, text in texts if not _has_strength(text))

    def _render(self, version: str, complete: Completion | None = None) -> Object:
        asked = replace(self.request, api_version=version)
        text, source = self.template
        made = manifest.workspace(complete(asked) if complete else asked, text, self.extra, source=source)
        _insist_on_name(made, self.request.name, self.namespace)
        return _with_mirror(made, self.given.registry)

    def say_for_which_kaito(self, made: Object, setting: Setting) -> None:
        """Say for which KAITO a manifest is written, where its preset does not tell and nobody was asked."""
        if self.known.preset(self.request.preset) is None or self.known.is_local(self.request.preset):
            return
        version, reason = self._chosen((), setting)
        kaito = setting.target_of(made)
        if reason:
            output.step(f"writing {version}, judged as KAITO {kaito}: {reason}")
        else:
            output.step(f"writing {version}, judged as KAITO {kaito}; --target-version chooses another")

    def _version(self, served: Sequence[str], setting: Setting) -> str:
        """The version to render for; says why when that is not the newest one that is served."""
        if self.given.api_version is not None:
            return self.given.api_version
        version, reason = self._chosen(served, setting)
        if reason and served:
            output.step(f"writing {version}: {reason}")
        return version

    def _chosen(self, served: Sequence[str], setting: Setting) -> tuple[str, str]:
        texts = ("preset", "instance_type", "private_image")
        said = {key: self.extra[key] for key in texts if isinstance(self.extra.get(key), str)}
        return convert.choose_version(
            replace(self.request, **said),
            served,
            known=self.known,
            release=nearest(setting.target or ""),
            byo=bool(setting.byo) or setting.provisioner == "byo",
            is_model=self._is_made_as_model(said.get("preset", self.request.preset), setting),
        )

    def _is_made_as_model(self, preset: str, setting: Setting) -> bool:
        """Whether kaitoctl's own controller makes it as today's KAITO does."""
        strong = [one for one in self.request.adapters if one.name not in self.without_strength]
        asked = {
            "preset": {"name": preset, "accessMode": "private" if self.request.private_image else "public"},
            "adapters": [{"strength": one.strength} for one in strong],
        }
        return Subject({"inference": asked}, setting).is_made_as_model


def _rendering(name: str, given: WorkspaceOptions, known: Catalog, target: Target) -> _Rendering:
    """What the options describe.

    Raises:
        InputError: an option is missing or not valid.
    """
    extra, named = _variables(given)
    if given.preset is None and given.template is None and "preset" not in extra:
        raise InputError("--preset is missing", hint="such as --preset falcon-7b")
    if given.image_pull_secret and not (given.private_image or given.template or "private_image" in extra):
        raise InputError(
            "--image-pull-secret is that of --private-image, which is missing",
            hint="an adapter's is named with it: --adapter NAME=IMAGE,pull-secret=SECRET",
        )
    request = manifest.WorkspaceRequest(
        name=name,
        namespace=target.namespace or "",
        preset=given.preset or "",
        instance_type=given.instance_type,
        count=1 if given.count is None else given.count,
        labels=option_values.labels(
            given.label or [f"apps={name}"], option="--label" if given.label else "the default label"
        ),
        preferred_nodes=tuple(given.preferred_node or ()),
        adapters=tuple(manifest.Adapter.parse(item) for item in given.adapter or ()),
        image_pull_secrets=tuple(given.image_pull_secret or ()),
        private_image=given.private_image,
    )
    template = templates.text_of(given.template) if given.template else (None, "template")
    if named or given.template:
        from kaitoctl.commands import user_template

        values = manifest.merge_deeply(manifest.values_of(request), extra)
        user_template.insist_on_values(given.template, template[0], values, named)
    return _Rendering(request, given, template, extra, known, target.namespace)


def _variables(given: WorkspaceOptions) -> tuple[Object, list[GivenVariable]]:
    """The variables of --values and --set."""
    if given.values is None and not given.set_value:
        return {}, []
    from kaitoctl.commands import user_template

    return user_template.variables(given)


def _served_by(setting: Setting) -> Sequence[str]:
    """The versions that the release serves which the user names; none when no release of KAITO is named."""
    release = nearest(setting.target or "")
    return [version.rpartition("/")[2] for version in release.versions] if release else ()


def _has_strength(adapter: str) -> bool:
    """Whether an `--adapter` gives a strength."""
    return any(part.startswith("strength=") for part in adapter.split(",")[1:])


def _insist_on_name(made: Object, name: str, namespace: str | None) -> None:
    """A template may add a lot, but not make another Workspace than the one asked for."""
    metadata = made.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    if metadata.get("name") != name:
        made_name = metadata.get("name")
        other = "without a name" if made_name is None else f"named {made_name!r}"
        raise InputError(
            f"the template makes a Workspace {other}, and not {name!r}",
            hint="write  name: {{ name }}  in it",
        )
    if not metadata.get("namespace"):
        metadata.pop("namespace", None)
    elif namespace is not None and metadata["namespace"] != namespace:
        raise InputError(
            f"the template's namespace {metadata['namespace']!r} is not that of --namespace {namespace}",
            hint="leave metadata.namespace out of it",
        )


def _insist_on_registry(registry: str | None) -> None:
    if registry is not None:
        from kaitoctl.kaito import images

        images.insist_on_registry(registry)


def _with_mirror(workspace: Object, registry: str | None) -> Object:
    if registry is None:
        return workspace
    from kaitoctl.kaito import images

    return images.with_mirrored_images(workspace, registry)
