"""The table of Kubernetes' built-in types, made anew from the Go sources of k8s.io/api.

    cd kaitoctl/sandbox
    python ../../tests/conformance/builtin_types.py "$(go env GOMODCACHE)" v0.37.2 > builtin_types.txt

What is taken over are facts: names, numbers, types, and how lists and maps merge. No comment, no code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# What the sandbox serves, and what is sent to it besides.
ROOTS = {
    "core.v1": "Namespace Pod Service Node Event Secret ConfigMap Endpoints ServiceAccount "
    "PersistentVolumeClaim PersistentVolume Binding",
    "apps.v1": "Deployment ReplicaSet StatefulSet DaemonSet ControllerRevision",
    "batch.v1": "Job",
    "coordination.v1": "Lease",
    "discovery.v1": "EndpointSlice",
    "storage.v1": "StorageClass",
    "policy.v1": "PodDisruptionBudget Eviction",
    "scheduling.v1": "PriorityClass",
    "rbac.v1": "Role RoleBinding ClusterRole ClusterRoleBinding",
    "authorization.v1": "SelfSubjectAccessReview SelfSubjectRulesReview",
    "autoscaling.v1": "Scale",
    "apiextensions.v1": "CustomResourceDefinition",
    "meta.v1": "DeleteOptions",
}
_SCALARS = {
    "string": "string", "bool": "bool", "int": "int64", "int16": "int32", "int32": "int32", "int64": "int64",
    "float64": "float64", "[]byte": "bytes", "metav1.Time": "time", "Time": "time",
    "metav1.MicroTime": "microtime", "MicroTime": "microtime", "resource.Quantity": "quantity",
    "intstr.IntOrString": "intorstring", "runtime.RawExtension": "raw", "FieldsV1": "raw",
    "types.UID": "string", "types.NodeName": "string", "IPFamily": "string",
    "JSON": "any", "JSONSchemaPropsOrBool": "any", "JSONSchemaPropsOrArray": "any",
    "JSONSchemaPropsOrStringArray": "any", "JSONSchemaURL": "string",
}  # fmt: skip
_IMPORTS = {"metav1": "meta.v1", "v1": "core.v1", "corev1": "core.v1", "apiv1": "core.v1"}


@dataclass
class Struct:
    """A Go struct: its markers, and its fields as (Go name, Go type, tag, markers)."""

    markers: list[str]
    fields: list[tuple[str, str, str, list[str]]] = field(default_factory=list)


def _source(modules: Path, version: str, package: str) -> Path:
    group, version_of_api = package.split(".")
    if group == "meta":
        folder = f"apimachinery@{version}/pkg/apis/meta/v1"
    elif group == "apiextensions":
        folder = f"apiextensions-apiserver@{version}/pkg/apis/apiextensions/v1"
    else:
        folder = f"api@{version}/{group}/{version_of_api}"
    return modules / "k8s.io" / folder


class Package:
    """The types of one Go package."""

    def __init__(self, folder: Path) -> None:
        self.structs: dict[str, Struct] = {}
        self.others: dict[str, str] = {}
        for file in sorted(folder.glob("types*.go")):
            self._read(file.read_text())

    def _read(self, text: str) -> None:
        markers: list[str] = []
        inside: Struct | None = None
        for line in text.splitlines():
            line = line.strip()
            if line.startswith("//"):
                if (marker := line.lstrip("/ ")).startswith("+"):
                    markers.append(marker)
                continue
            if inside is None:
                if match := re.match(r"type (\w+) struct \{$", line):
                    inside = self.structs[match[1]] = Struct(markers)
                elif match := re.match(r"type (\w+) struct ?\{\}$", line):
                    self.structs[match[1]] = Struct(markers)
                elif match := re.match(r"type (\w+) (.+)$", line):
                    self.others[match[1]] = match[2].split("//")[0].strip()
                if line:
                    markers = []
            elif line == "}":
                inside, markers = None, []
            elif match := re.match(r"(?:(\w+)\s+)?([^\s`]+)\s+`([^`]*)`", line):
                inside.fields.append((match[1] or "", match[2], match[3], markers))
                markers = []
            elif line:
                markers = []


class Types:
    """All types that the roots need, as lines of the table."""

    def __init__(self, modules: Path, version: str) -> None:
        self._modules, self._version = modules, version
        self._packages: dict[str, Package] = {}
        self.lines: dict[str, list[str]] = {}
        self.markers: dict[str, str] = {}
        for package, names in ROOTS.items():
            for name in names.split():
                self._add(package, name)

    def _package(self, name: str) -> Package:
        if name not in self._packages:
            self._packages[name] = Package(_source(self._modules, self._version, name))
        return self._packages[name]

    def _add(self, package: str, name: str) -> None:
        full = f"{package}.{name}"
        if full in self.lines:
            return
        lines: list[str] = []
        self.lines[full] = lines
        struct = self._package(package).structs[name]
        self.markers[full] = " atomic" if "+structType=atomic" in struct.markers else ""
        for go_name, go_type, tag, markers in struct.fields:
            lines += self._field(package, go_name, go_type, tag, markers)

    def _field(self, package: str, go_name: str, go_type: str, tag: str, markers: list[str]) -> Iterator[str]:
        tags = dict(re.findall(r'(\w+):"([^"]*)"', tag))
        name, *options = tags.get("json", go_name).split(",")
        if name == "-" or go_name == "-":
            return
        number = tags.get("protobuf", ",0").split(",")[1]
        if not name or "inline" in options:
            if number == "0":  # a Go embedding: its fields are this type's own
                inner_package, inner = self._located(package, go_type)
                for part in self._package(inner_package).structs[inner].fields:
                    for line in self._field(inner_package, *part):
                        yield re.sub(r" \d+ ", " 0 ", line, count=1)  # protobuf has it elsewhere
                return
            name = "."
        marks = ["" if "omitempty" in options or "omitzero" in options or name == "." else "always"]
        may_lack, must_have = (
            any(marker.split("(")[0] in (f"+{word}", f"+k8s:{word}") for marker in markers)
            for word in ("optional", "required")
        )
        if marks[0]:
            marks.append("optional" if may_lack else "")
        else:
            marks.append("required" if must_have else "")
        marks.append("omitzero" if "omitzero" in options else "")
        marks.append("atomic" if "+mapType=atomic" in markers or "+structType=atomic" in markers else "")
        is_granular = "+mapType=granular" in markers or "+structType=granular" in markers
        marks.append("granular" if is_granular else "")
        keys = [marker.partition("=")[2] for marker in markers if marker.startswith("+listMapKey=")]
        if keys and "+listType=map" in markers:
            marks.append(f"keys={','.join(keys)}")
        marks.append("set" if "+listType=set" in markers else "")
        if "merge" in tags.get("patchStrategy", "").split(","):
            marks.append(f"merge={tags.get('patchMergeKey', '')}")
        if tags.get("patchStrategy") == "replace":
            marks.append("replace")
        if "retainKeys" in tags.get("patchStrategy", ""):
            marks.append("retainKeys")
        defaults = [marker.partition("=")[2] for marker in markers if marker.startswith("+default=")]
        if defaults and '"' in defaults[0]:
            marks.append(f"default={defaults[0].strip(chr(34))}")
        yield " ".join(filter(None, [name, number, self._type(package, go_type), *marks]))

    def _located(self, package: str, go_type: str) -> tuple[str, str]:
        prefix, _, name = go_type.rpartition(".")
        if prefix and prefix not in _IMPORTS:  # `schedulingv1alpha3`: the group and its version in one word
            prefix = re.sub(r"(v\d+\w*)$", r".\1", prefix)
        return _IMPORTS.get(prefix, prefix or package), name

    def _type(self, package: str, go_type: str) -> str:
        if go_type.startswith("*"):
            return "*" + self._type(package, go_type[1:])
        if go_type in _SCALARS:
            return _SCALARS[go_type]
        if go_type.startswith("[]"):
            return "[]" + self._type(package, go_type[2:])
        if match := re.match(r"map\[[\w.]+\](.*)", go_type):
            return "{}" + self._type(package, match[1])
        inner_package, name = self._located(package, go_type)
        known = self._package(inner_package)
        if name in known.structs:
            self._add(inner_package, name)
            return name if inner_package == package else f"{inner_package}.{name}"
        return self._type(inner_package, known.others[name])


def main() -> None:
    """Print the table."""
    modules, version = Path(sys.argv[1]), sys.argv[2]
    types = Types(modules, version)
    sys.stdout.write(
        f"# The fields of Kubernetes' built-in types: JSON name, number in protobuf, type, marks.\n"
        f"# Source: struct tags and markers of k8s.io/api, apimachinery, apiextensions-apiserver {version}.\n"
        f"# Made by tests/conformance/builtin_types.py, read by kaitoctl/sandbox/types.py.\n"
    )
    for name in sorted(types.lines):
        sys.stdout.write(f"{name}{types.markers[name]}\n")
        sys.stdout.writelines(f" {line}\n" for line in types.lines[name])


if __name__ == "__main__":
    main()
