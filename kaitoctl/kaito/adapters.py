"""One adapter of a Workspace: how its entry changes, how that is written, and what takes it back. Pure.

`inference.adapters` is one value to the API server: whoever writes it writes the whole list. So a change is
kept as *what becomes of one entry*, and is worked out anew on the list as it is whenever somebody else was
faster; the write itself holds only for the state that was looked at. How the pods take it is in
`adapter_rollout`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from kaitoctl.advice import Advice, Command
from kaitoctl.errors import ApiError, InputError
from kaitoctl.kaito import api, validation
from kaitoctl.kaito.validation import OWN, Problem, Setting
from kaitoctl.kube import managed_fields, refusal_hints, request
from kaitoctl.kube.conditions import find, is_true
from kaitoctl.kube.objects import Object, dig, generation_of, key_of, this_version, uid_of
from kaitoctl.kube.request import Request

FIELD = "inference.adapters"

_TRIES = 10
_OWNED: tuple[str, ...] = ("f:inference", "f:adapters")
# What `validation` warns of because KAITO goes on without the adapter. Who adds one wants it loaded.
_NOT_LOADED = ("KW158", "KW159")
_MAYBE_NOT_LOADED = "KW160"
_WITHOUT_EFFECT = "KW161"


class Change(Struct, frozen=True):
    """What becomes of one adapter.

    Args:
        name: of the adapter.
        edit: given its entry, None when there is none, the entry that there should be, None for none.
            Raises InputError when that cannot be done.
        must_exist: whether there has to be an entry.
    """

    name: str
    edit: Callable[[Object | None], Object | None]
    must_exist: bool = False

    def on(self, entries: Sequence[Object]) -> list[Object]:
        """The entries after the change; those of other adapters stay, and so does the order.

        Raises:
            InputError: it cannot be done.
        """
        names = [name_of(item) for item in entries]
        position = names.index(self.name) if self.name in names else None
        if position is None and self.must_exist:
            raise _missing(self.name, names)
        wanted = self.edit(None if position is None else entries[position])
        made = list(entries)
        if position is None:
            return made if wanted is None else [*made, wanted]
        made[position : position + 1] = [] if wanted is None else [wanted]
        return made


# --- entries -----------------------------------------------------------------------------------------------


def entries_of(workspace: Object) -> list[Object]:
    """The Workspace's adapters as written; what is no map is left out."""
    listed = dig(workspace, "inference", "adapters")
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []


def entry_of(workspace: Object, name: str) -> Object | None:
    """The entry of the adapter of that name."""
    return next((item for item in entries_of(workspace) if name_of(item) == name), None)


def name_of(entry: Object) -> str:
    """The adapter's name, empty when it has none."""
    name = dig(entry, "source", "name")
    return name if isinstance(name, str) else ""


def entry(
    name: str,
    *,
    image: str = "",
    volume_claim: str = "",
    strength: str | None = None,
    pull_secrets: Sequence[str] = (),
) -> Object:
    """An entry of `inference.adapters`.

    Args:
        name: of the adapter.
        image: that holds its files under `/data`.
        volume_claim: the PersistentVolumeClaim that holds its files, instead of an image.
        strength: a decimal from 0 to 1; None leaves it out.
        pull_secrets: names of Secrets to pull the image with.
    """
    source: Object = {"name": name}
    if image:
        source["image"] = image
    if volume_claim:
        source["volumeSource"] = {"persistentVolumeClaim": {"claimName": volume_claim}}
    if pull_secrets:
        source["imagePullSecrets"] = list(pull_secrets)
    return {"source": source} if strength is None else {"source": source, "strength": strength}


def source_text(entry: Object) -> str:
    """Where the adapter's files come from, in few words."""
    source = entry.get("source") or {}
    if source.get("image"):
        return str(source["image"])
    if claim := dig(source, "volumeSource", "persistentVolumeClaim", "claimName"):
        return f"claim {claim}"
    volume = source.get("volumeSource")
    return f"volume {', '.join(volume)}" if isinstance(volume, dict) and volume else "nowhere"


# --- changes -----------------------------------------------------------------------------------------------


def adding(wanted: Object, *, may_replace: bool = False) -> Change:
    """Add an adapter; with `may_replace` in the place of one of its name."""
    name = name_of(wanted)

    def edit(present: Object | None) -> Object:
        if present is not None and present != wanted and not may_replace:
            raise InputError(
                f"there is an adapter {name} already: {describe_entry(present)}",
                hint="--replace puts this one in its place; set-adapter changes a part of it",
            )
        return wanted

    return Change(name, edit)


def removing(name: str) -> Change:
    """Remove an adapter."""
    return Change(name, lambda present: None, must_exist=True)


def setting(
    name: str,
    *,
    image: str | None = None,
    strength: str | None = None,
    pull_secrets: Sequence[str] | None = None,
) -> Change:
    """Change what is given of an adapter; None leaves as it is."""

    def edit(present: Object | None) -> Object:
        assert present is not None, "it must exist"
        source = dict(present.get("source") or {})
        if image is not None:
            source["image"] = image
            source.pop("volumeSource", None)
        if pull_secrets is not None:
            source["imagePullSecrets"] = list(pull_secrets)
            if not pull_secrets:
                del source["imagePullSecrets"]
        made = {**present, "source": source}
        return made if strength is None else {**made, "strength": strength}

    return Change(name, edit, must_exist=True)


def restoring(name: str, before: Object | None, after: Object | None) -> Change:
    """Take a change back: where `after` is, `before` comes again.

    Raises (when carried out):
        InputError: somebody has changed the adapter since; theirs is not overwritten.
    """

    def edit(present: Object | None) -> Object | None:
        if present not in (before, after):
            raise InputError(f"the adapter {name} was changed by somebody else since; their change is kept")
        return before

    return Change(name, edit)


def _missing(name: str, known: Sequence[str]) -> InputError:
    """The error of an adapter that is not there."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    hint: Advice = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    if not known:
        hint = "it has none; " + Command("kaitoctl add-adapter NAME") + " adds one"
    return InputError(f"there is no adapter {name[:80]!r}", hint=hint)


def describe_entry(entry: Object) -> str:
    """An entry in one line."""
    strength = entry.get("strength")
    return source_text(entry) + ("" if strength is None else f" at strength {strength}")


def way_back(workspace: str, name: str, before: Object | None, options: Sequence[str] = ()) -> Command | None:
    """The command line that takes a change back; None when there is none that says it all.

    Args:
        workspace: its name.
        name: of the adapter.
        before: the adapter's entry before the change, None when there was none.
        options: where the Workspace is: namespace, cluster.
    """
    if before is None:
        return Command("kaitoctl remove-adapter", workspace, "--name", name, *options)
    source = before.get("source") or {}
    claim = dig(source, "volumeSource", "persistentVolumeClaim", "claimName") or ""
    image, secrets = source.get("image") or "", source.get("imagePullSecrets") or ()
    said = entry(name, image=image, volume_claim=claim, strength=before.get("strength"), pull_secrets=secrets)
    if said != before:
        return None
    words = [workspace, "--name", name, "--replace"]
    words += ["--image", image] if image else ["--volume-claim", claim]
    if before.get("strength") is not None:
        words += ["--strength", before["strength"]]
    for secret in secrets:
        words += ["--image-pull-secret", secret]
    return Command("kaitoctl add-adapter", *words, *options)


# --- judging -----------------------------------------------------------------------------------------------


def faults(
    before: Object, after: Object, setting: Setting, *, is_on_vllm: bool | None = None
) -> list[Problem]:
    """What speaks against the change: errors forbid it, the rest is worth knowing.

    What was wrong with the Workspace before, in fields that do not change, is not repeated.

    Args:
        before: the Workspace as it is.
        after: as it would be.
        setting: where it lives.
        is_on_vllm: whether vLLM serves it now; None when that is not known.
    """
    old = {(problem.path, problem.code, problem.message) for problem in validation.judge(before, setting)}
    found = []
    for problem in validation.judge(after, setting, old=before):
        is_ours = problem.path.startswith(FIELD)
        if not is_ours and (problem.path, problem.code, problem.message) in old:
            continue
        if problem.code == _MAYBE_NOT_LOADED:
            # A warning for who writes a Workspace; here it can be known.
            if is_on_vllm is False or setting.target_of(after) == OWN:
                continue
            problem = replace(problem, severity="error") if is_on_vllm else problem
        elif problem.code in _NOT_LOADED and entries_of(after):
            problem = replace(problem, severity="error")
        elif (
            is_ours and problem.severity == "warning" and (problem.path, problem.code, problem.message) in old
        ):
            continue
        elif problem.code == _WITHOUT_EFFECT:
            # KAITO asks on creation only; a change that restarts pods and does nothing is not worth it.
            problem = replace(problem, severity="error")
        found.append(problem)
    return found


def from_tuning(workspace: Object, tuned: Object) -> Object:
    """The image or volume, as `source`, that has a tuning Workspace's result, for another one to load.

    Args:
        workspace: that is to load it.
        tuned: the tuning Workspace.

    Raises:
        InputError: it has not succeeded, pushed no image, or tuned another model.
    """
    name = key_of(tuned).name
    if not tuned.get("tuning"):
        raise InputError(
            f"Workspace {name} does not tune anything", hint="--from-tuning needs a Workspace with tuning:"
        )
    if not is_true(tuned, api.WORKSPACE_SUCCEEDED, generation=generation_of(tuned)):
        said = find(tuned, api.WORKSPACE_SUCCEEDED) or {}
        why = str(said.get("message") or "no message yet")
        raise InputError(
            f"tuning {name} has not succeeded: {why}",
            hint=Command("kubectl get workspace", name, "-n", key_of(tuned).namespace, "-w")
            + " shows when it has",
        )
    output = dig(tuned, "tuning", "output") or {}
    volume = output.get("volumeSource")
    if not output.get("image") and not volume:
        raise InputError(f"tuning {name} has pushed no image: tuning.output.image is empty")
    base, wanted = (
        dig(item, use, "preset", "name") for item, use in ((tuned, "tuning"), (workspace, "inference"))
    )
    if base != wanted:
        raise InputError(
            f"tuning {name} has tuned {base}, and Workspace {key_of(workspace).name} serves {wanted}: "
            "an adapter fits only the model that it was made from"
        )
    if volume:
        if not dig(volume, "persistentVolumeClaim", "claimName"):
            raise InputError(
                f"tuning {name} has left its result in a volume that is no PersistentVolumeClaim",
                hint="write inference.adapters[].source.volumeSource into the manifest",
            )
        return {"volumeSource": volume}
    secret = output.get("imagePushSecret")
    return {"image": output["image"], **({"imagePullSecrets": [secret]} if secret else {})}


# --- writing -----------------------------------------------------------------------------------------------


def with_entries(workspace: Object, entries: Sequence[Object]) -> Object:
    """The Workspace with these adapters; without the field when there are none."""
    inference = {key: value for key, value in (workspace.get("inference") or {}).items() if key != "adapters"}
    if entries:
        inference["adapters"] = list(entries)
    return {**workspace, "inference": inference}


def intent(workspace: Object, entries: Sequence[Object], manager: str) -> Object:
    """What `manager` has to apply so that the Workspace has these adapters and loses nothing else.

    An apply removes what its manager applied before and leaves out now, so all of that is in it. It holds
    for this very state of this very object: uid and resourceVersion are in it, too.

    Args:
        workspace: as read, with managedFields.
        entries: the adapters.
        manager: the field manager.
    """
    mine = managed_fields.extract(workspace, manager)
    inference = {key: value for key, value in (mine.get("inference") or {}).items() if key != "adapters"}
    # No adapters: the field goes when it is ours alone; else an empty list, which others' claims resist.
    if entries or owners(workspace) - {manager}:
        inference["adapters"] = list(entries)
    metadata = {**mine["metadata"], **this_version(workspace)}
    made = {**{key: value for key, value in mine.items() if key != "inference"}, "metadata": metadata}
    return {**made, "inference": inference} if inference else made


def owners(workspace: Object) -> set[str]:
    """The managers that own the field."""
    return managed_fields.owners(workspace, *_OWNED, subresource="")


def written_as(workspace: Object) -> str:
    """The apiVersion that the Workspace's inference was written in; that of the object when nobody says.

    In another one it would get other defaults: v1alpha1 fills in an instance type, v1beta1 has none.
    """
    for item in workspace["metadata"].get("managedFields") or ():
        fields = item.get("fieldsV1") or {}
        if not item.get("subresource") and (dig(fields, "f:inference") is not None):
            written = dig(fields, "f:inference", "f:preset") is not None
            written = written or dig(fields, "f:inference", "f:template") is not None
            if written and item.get("apiVersion"):
                return str(item["apiVersion"])
    return str(workspace["apiVersion"])


class Written(Struct, frozen=True):
    """A change that was carried out.

    Args:
        before: the Workspace on which it was.
        after: the Workspace then; the same when there was nothing to change.
        tries: how often it took.
    """

    before: Object
    after: Object
    tries: int = 1


def writing(
    workspace: Object,
    change: Change,
    *,
    manager: str,
    force: bool = False,
    dry_run: bool = False,
    check: Callable[[Object, Object], None] = lambda before, after: None,
) -> Generator[Request, Object, Written]:
    """Apply a change, anew on the Workspace as it is then whenever somebody else was faster.

    Yields requests and is sent the answers; ApiErrors are thrown in.

    Args:
        workspace: as last read, with managedFields.
        change: what is to become of an adapter.
        manager: the field manager.
        force: take the field over from other managers; their adapters stay in the list.
        dry_run: let the server do everything but write.
        check: given the Workspace before and after; raises for what must not be.

    Raises:
        ApiError: a conflict with another manager, or any other refusal; 404 when it is gone.
        InputError: the change cannot be made.

    Guarantee: an adapter that anybody wrote at any moment is lost only when this very change removes it.
    """
    kind = api.kind_of(workspace)
    for tries in range(1, _TRIES + 1):
        present = entries_of(workspace)
        wanted = change.on(present)
        if wanted == present:
            return Written(workspace, workspace, tries)
        after = with_entries(workspace, wanted)
        check(workspace, after)
        body = intent(workspace, wanted, manager)
        try:
            made = yield request.apply(kind, body, manager=manager, force=force, dry_run=dry_run)
        except ApiError as error:
            if not refusal_hints.is_stale(error) or tries == _TRIES:
                raise
            now = yield request.get(kind, *key_of(workspace))
            if uid_of(now) != uid_of(workspace):  # another of its name, which nobody has judged
                raise
            workspace = now
        else:
            return Written(workspace, made, tries)
    raise AssertionError("the last try returns or raises")


def conflicting(error: ApiError) -> list[str]:
    """The managers that own what an apply wanted to change, as the API server words them."""
    return [
        str(item.get("message")).removeprefix("conflict with ")
        for item in error.causes
        if item.get("reason") == "FieldManagerConflict"
    ]
