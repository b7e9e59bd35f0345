"""The templates of deploy/chart that deploy/*.yaml already say: `python3 dev.py chart` writes them.

deploy/*.yaml stay what kubectl applies, and what the tests hold to the requests of the controller; so a right
or an argument is written down once.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
TEMPLATES = DEPLOY / "chart" / "templates"
_HEAD = "{{- /* Made of deploy/%s by `python3 dev.py chart`. */}}\n"
_IMAGE = re.compile(r"image: registry\.example/kaitoctl:\S+")
_RESOURCES = re.compile(r"^( +)resources:\n(?:\1 +.*\n)+", re.MULTILINE)
_ARGS = re.compile(r"^( +)args:\n((?:\1- .*\n|\1# .*\n)+)", re.MULTILINE)

# File of deploy/: the value that switches it on, and whose settings its Deployment has.
SOURCES: Mapping[str, tuple[str, str]] = {
    "controller.yaml": (".Values.controller.enabled", "controller"),
    "karpenter.yaml": (
        'and .Values.controller.enabled (eq .Values.controller.nodeProvisioner "karpenter")',
        "controller",
    ),
    "webhook.yaml": ("and .Values.webhook.enabled (not .Values.webhook.inController)", "webhook"),
    "controller-webhook.yaml": (
        "and .Values.webhook.enabled .Values.webhook.inController .Values.controller.enabled",
        "controller",
    ),
    "users.yaml": (".Values.userRoles", ""),
}
_OWN_ARGS = {
    "controller": (
        "{{- with .Values.controller.nodeProvisioner }}\n- --node-provisioner={{ . }}\n{{- end }}\n"
        "{{- if and .Values.webhook.enabled .Values.webhook.inController }}\n"
        "- --webhook\n- --webhook-secret={{ .Release.Namespace }}/kaitoctl-webhook\n{{- end }}\n"
    ),
    "webhook": ("{{- with .Values.webhook.targetVersion }}\n- --target-version={{ . }}\n{{- end }}\n"),
}


def templates() -> dict[str, str]:
    """The text of each template, by its file's name."""
    return {name: _template(name, *SOURCES[name]) for name in SOURCES}


def write() -> None:
    """Write them into the chart."""
    for name, text in templates().items():
        (TEMPLATES / name).write_text(text, encoding="utf-8")


def _template(name: str, condition: str, settings: str) -> str:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    documents = [re.sub(r"\A(?:#.*\n)+", "", document) for document in text.split("\n---\n")]
    kept = [document.rstrip("\n") + "\n" for document in documents if "\nkind: Namespace\n" not in document]
    body = "---\n".join(_of_values(document, settings) for document in kept)
    return f"{_HEAD % name}{{{{- if {condition} }}}}\n{body}{{{{- end }}}}\n"


def _of_values(document: str, settings: str) -> str:
    """A document with values of the chart in the place of what an installation chooses."""
    made = document.replace("kaitoctl-system", "{{ .Release.Namespace }}")
    made = made.replace("failurePolicy: Ignore", "failurePolicy: {{ .Values.webhook.failurePolicy }}")
    if "\nkind: Deployment\n" not in document:
        return made
    values = f".Values.{settings}"
    made = re.sub(r"^  replicas: \d+$", f"  replicas: {{{{ {values}.replicas }}}}", made, flags=re.MULTILINE)
    image = 'image: {{ include "kaitoctl.image" . }}\n        imagePullPolicy: {{ .Values.image.pullPolicy }}'
    made = _IMAGE.sub(image, made)
    made = _RESOURCES.sub(rf"\1resources:\n\1  {{{{- toYaml {values}.resources | nindent 10 }}}}\n", made)
    made = _ARGS.sub(lambda found: _with_args(found, settings), made)
    placement = (
        "    spec:\n"
        "      {{- with .Values.image.pullSecrets }}\n"
        "      imagePullSecrets:\n"
        "      {{- toYaml . | nindent 6 }}\n"
        "      {{- end }}\n"
        f'      {{{{- with include "kaitoctl.placement" {values} | trim }}}}\n'
        "      {{- . | nindent 6 }}\n"
        "      {{- end }}\n"
    )
    return made.replace("    spec:\n      serviceAccountName", f"{placement}      serviceAccountName", 1)


def _with_args(found: re.Match[str], settings: str) -> str:
    indent = found[1]
    own = "".join(line for line in found[2].splitlines(keepends=True) if not line.lstrip().startswith("#"))
    further = f"{{{{- range .Values.{settings}.extraArgs }}}}\n- {{{{ . | quote }}}}\n{{{{- end }}}}\n"
    more = _OWN_ARGS[settings] + further
    return f"{indent}args:\n{own}" + "".join(f"{indent}{line}\n" for line in more.splitlines())


def of_version(text: str, present: str, version: str) -> str:
    """A file of deploy/ that names one version of kaitoctl, with another one in its place.

    Helm wants what comes before a release behind a hyphen: 0.2.0-rc1 for 0.2.0rc1.
    """
    made = text.replace(f"registry.example/kaitoctl:{present}", f"registry.example/kaitoctl:{version}")
    made = re.sub(
        rf"^(version: ){re.escape(semantic(present))}$", rf"\g<1>{semantic(version)}", made, flags=re.M
    )
    return re.sub(rf"^( *(?:appVersion|newTag): ){re.escape(present)}$", rf"\g<1>{version}", made, flags=re.M)


def semantic(version: str) -> str:
    """A version of Python's as one of Helm's."""
    return re.sub(r"(?<=\d)(a|b|rc)(?=\d)", r"-\1", version)


def package(deploy: Path, folder: Path) -> Path:
    """The chart as an archive that helm installs, the same for the same files."""
    root = deploy / "chart"
    found = re.search(r"^version: (\S+)$", (root / "Chart.yaml").read_text("utf-8"), re.MULTILINE)
    assert found, "Chart.yaml has no version"
    made = folder / f"kaitoctl-{found[1]}.tgz"
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for file in sorted(one for one in root.rglob("*") if one.is_file()):
            entry = tarfile.TarInfo(f"kaitoctl/{file.relative_to(root).as_posix()}")
            entry.size, entry.mode = file.stat().st_size, 0o644
            with file.open("rb") as content:
                archive.addfile(entry, content)
    made.write_bytes(gzip.compress(plain.getvalue(), mtime=0))
    return made


if __name__ == "__main__":
    write()
