"""The rules for a Workspace by itself, in CEL: see `kaitoctl.kaito.validation.create`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from kaitoctl.kaito.admission_policy.changes import change_rules
from kaitoctl.kaito.admission_policy.rule import SAYS_A_LABEL, Rule, each, is_image, is_label, is_name, regex
from kaitoctl.kaito.admission_policy.tables import as_model, trouble
from kaitoctl.kaito.api import MAX_ADAPTERS
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kaito.validation.grammar import DECIMAL, LONGEST_NAME
from kaitoctl.kube.names import DNS_1035_LABEL, DNS_SUBDOMAIN, LONGEST_SUBDOMAIN, QUALIFIED_NAME

_MOST_NODES = 2**31 - 1
_LONG_IMAGES = "images whose name has more than 255 characters"


def rules(known: Catalog) -> list[Rule]:
    """All of them, in the order of the fields."""
    return [
        *_identity(known),
        *_nodes(known),
        *_inference(known),
        *_adapters(),
        *_adapter_values(),
        *_tuning(known),
        *_tuning_references(),
        *change_rules(),
    ]


def _identity(known: Catalog) -> Iterator[Rule]:
    spread = json.dumps([name for name, preset in known.presets.items() if preset.distributed])
    name = "object.metadata.name"
    longest = LONGEST_NAME - len("-headless")
    yield Rule(
        "KW110",
        "metadata.name",
        f"!has({name}) || ({is_label(name, DNS_1035_LABEL)})",
        "cannot name a Service: at most 63 lower-case letters, digits and hyphens, first a letter",
    )
    yield Rule(
        "KW111",
        "metadata.name",
        f"!(variables.preset in {spread}) || size({name}) <= {longest} || size({name}) > {LONGEST_NAME}",
        f"with -headless behind it only {longest} characters fit",
    )
    yield Rule(
        "KW140",
        "",
        "has(object.inference) != has(object.tuning)",
        "exactly one of inference and tuning must be set",
    )


def _nodes(known: Catalog) -> Iterator[Rule]:
    selector = "resource.labelSelector"
    yield Rule("KW120", "resource", "size(variables.labels) > 0", "no label selects the nodes")
    keys = (
        f"variables.labels.all(key, key.matches({regex(f'(?:{DNS_SUBDOMAIN}/)?{QUALIFIED_NAME}')}) && "
        f"size(key.split('/')[size(key.split('/')) - 1]) <= {LONGEST_NAME} && "
        f"size(key.split('/')[0]) <= {LONGEST_SUBDOMAIN})"
    )
    value = "variables.labels[key]"
    values = f"variables.labels.all(key, {value} == '' || ({is_label(value, QUALIFIED_NAME)}))"
    yield Rule("KW113", f"{selector}.matchLabels", f"{keys} && {values}", "not a label's key or value")
    yield Rule(
        "KW128",
        f"{selector}.matchExpressions[]",
        f"variables.expressions.all(item, {SAYS_A_LABEL})",
        "only In with one value can be said with labels; use matchLabels",
    )
    count = "object.resource.count"
    yield Rule(
        "KW123",
        "resource.count",
        f"!has(object.resource) || !has({count}) || ({count} >= 1 && {count} <= {_MOST_NODES})",
        f"must be between 1 and {_MOST_NODES}",
    )
    preferred = "variables.resource.?preferredNodes.orValue([])"
    yield Rule("KW124", "resource.preferredNodes[]", each(preferred, is_name("item")), "not a node's name")
    for code, message in (
        ("KW132", "this instance type does not exist"),
        ("KW131", "this instance type has no NVIDIA GPUs"),
        ("KW133", "this instance type is not amd64"),
    ):
        listed = [name for name, machine in known.instance_types.items() if trouble(machine) == code]
        if listed:
            yield Rule(code, "resource.instanceType", f"!(variables.type in {json.dumps(listed)})", message)
    if known.instance_types and known.presets:
        yield from _sizes()


def _sizes() -> Iterator[Rule]:
    for code, condition, message in (
        (
            "KW134",
            "double(variables.nodes) * variables.machine[0] >= variables.needs[0]",
            "fewer GPUs than the preset needs",
        ),
        (
            "KW135",
            "variables.machine[2] >= variables.needs[2]",
            "less memory on each GPU than the preset needs",
        ),
        (
            "KW136",
            "double(variables.nodes) * variables.machine[1] >= variables.needs[1]",
            "less GPU memory than the preset needs",
        ),
    ):
        partly = "models of KAITO v0.12 that are to run on transformers" if code == "KW136" else ""
        yield Rule(code, "resource.instanceType", f"!variables.isSized || {condition}", message, partly)
    shares = "variables.needs[3] == 0.0 || int(variables.needs[4]) % variables.nodes == 0"
    message = "the preset's processes cannot be shared equally by so many nodes"
    yield Rule("KW137", "resource.count", f"!variables.isSized || {shares}", message)


def _inference(known: Catalog) -> Iterator[Rule]:
    has_preset, has_template = "has(object.inference.preset)", "has(object.inference.template)"
    yield Rule(
        "KW141",
        "inference",
        f"!has(object.inference) || {has_preset} != {has_template}",
        "exactly one of preset and template must be set",
    )
    private = json.dumps(
        [
            name
            for name, preset in known.presets.items()
            if preset.access_mode == "private" and not as_model(name, known)
        ]
    )
    for part, name in (("inference", "variables.preset"), ("tuning", "variables.tuned")):
        where = f"{part}.preset"
        has_name = f"has(object.{part}) && has(object.{where}) && has(object.{where}.name)"
        is_known = f"{name} in variables.presets || {name}.lowerAscii() in variables.models"
        is_known += " || variables.isId" if part == "inference" else ""
        yield Rule(
            "KW142",
            f"{where}.name",
            f"!({has_name}) || {is_known}",
            "is not a preset or model of the catalog",
        )
        mode = f"object.?{where}.accessMode.orValue('')"
        image = f"object.?{where}.presetOptions.image.orValue('')"
        yield Rule(
            "KW143",
            f"{where}.accessMode",
            f"!({name} in {private}) || {mode} == 'private'",
            "the preset's image is not published: set private, and an image of your own",
        )
        yield Rule(
            "KW144",
            f"{where}.presetOptions.image",
            f"{mode} != 'private' || variables.isModel || {image} != ''",
            "accessMode is private, but there is no image",
            "one of a preset that images of KAITO v0.4 serve as today's do",
        )
        yield Rule(
            "KW145",
            f"{where}.presetOptions.image",
            f"{image} == '' || ({is_image(image)})",
            "not an image: [registry[:port]/]path[:tag][@digest]",
            _LONG_IMAGES,
        )
        secrets = f"object.?{where}.presetOptions.imagePullSecrets.orValue([])"
        token = f"object.?{where}.presetOptions.modelAccessSecret.orValue('')"
        yield Rule(
            "KW148",
            f"{where}.presetOptions",
            f"{each(secrets, is_name('item'))} && ({token} == '' || ({is_name(token)}))",
            "not a Secret's name",
        )


def _adapters() -> Iterator[Rule]:
    at = "inference.adapters[]"
    yield Rule(
        "KW150",
        "inference.adapters",
        f"size(variables.adapters) <= {MAX_ADAPTERS}",
        f"more than {MAX_ADAPTERS} adapters",
    )
    image, volume = "item.?image.orValue('') != ''", "item.?volumeSource.orValue({}) != {}"
    one = (
        f"item.?urls.orValue([]) == [] && "
        f"(variables.isModel ? ({image}) != ({volume}) : ({image}) && !({volume}))"
    )
    yield Rule(
        "KW151",
        f"{at}.source",
        f"variables.adapters.all(item, has(item.source)) && variables.sources.all(item, {one})",
        "an adapter comes from one image",
    )
    yield Rule(
        "KW152",
        f"{at}.source.name",
        f"variables.sources.all(item, has(item.name) && {is_label('item.name')})",
        "cannot name a container: use at most 63 lower-case letters, digits and hyphens",
    )
    names = f"variables.adapterNames.filter(name, {is_label('name')})"
    yield Rule(
        "KW153",
        f"{at}.source.name",
        f"{names}.all(name, size(variables.adapterNames.filter(other, other == name)) == 1)",
        "two adapters have one name",
    )
    yield Rule(
        "KW154",
        f"{at}.source.name",
        f"!(object.metadata.?name.orValue('') in {names})",
        "is the Workspace's own name",
    )


def _adapter_values() -> Iterator[Rule]:
    at = "inference.adapters[]"
    # A conversion that overflows is an error: with three digits, whatever is not 0 is far above 1.
    is_huge = f"item.strength.matches({regex('[^eE]*[1-9][^eE]*[eE][+]?[1-9][0-9]{2}')})"
    between = "double(item.strength) >= 0.0 && double(item.strength) <= 1.0"
    is_strength = f"item.strength.matches({regex(DECIMAL)}) && !{is_huge} && {between}"
    yield Rule(
        "KW156",
        f"{at}.strength",
        f"variables.adapters.all(item, !has(item.strength) || ({is_strength}))",
        "not a decimal between 0 and 1",
        "decimals above 1 that a 64-bit number cannot tell from 1",
    )
    yield Rule(
        "KW145",
        f"{at}.source.image",
        f"variables.sources.all(item, !has(item.image) || item.image == '' || ({is_image('item.image')}))",
        "not an image: [registry[:port]/]path[:tag][@digest]",
        _LONG_IMAGES,
    )
    secrets = "item.?imagePullSecrets.orValue([])"
    yield Rule(
        "KW148",
        f"{at}.source.imagePullSecrets[]",
        f"variables.sources.all(item, {secrets}.all(secret, {is_name('secret')}))",
        "not a Secret's name",
    )


def _tuning(known: Catalog) -> Iterator[Rule]:
    yield Rule(
        "KW170",
        "resource.count",
        "!has(object.tuning) || variables.count == 1",
        "tuning cannot use several nodes",
    )
    fixed = [
        name for name, preset in known.presets.items() if not preset.tuning and not as_model(name, known)
    ]
    fixed_models = sorted(
        {
            name.lower()
            for name in known.model_names()
            if as_model(name, known) and (model := known.model(name)) and not model.tuning
        }
    )
    can = (
        f"!(variables.tuned in {json.dumps(fixed)}) && "
        f"!(variables.isModel && variables.tuned.lowerAscii() in {json.dumps(fixed_models)})"
    )
    yield Rule(
        "KW171",
        "tuning.preset",
        f"!has(object.tuning) || (has(object.tuning.preset) && {can})",
        "no preset that can be tuned",
    )
    yield Rule(
        "KW172",
        "tuning.method",
        "!has(object.tuning) || variables.tuning.?method.orValue('') in ['lora', 'qlora']",
        "use lora or qlora",
    )
    data, output = "variables.tuning.?input", "variables.tuning.?output"
    urls, image = f"{data}.urls.orValue([]) != []", f"{data}.image.orValue('') != ''"
    volume = "volumeSource.orValue({}) != {}"
    yield Rule(
        "KW173",
        "tuning.input",
        f"!has(object.tuning) || [{urls}, {image}, {data}.{volume}].exists_one(given, given)",
        "the data comes from exactly one of urls, image and volumeSource",
        "a volume with a preset of KAITO v0.4 and before",
    )
    yield Rule(
        "KW174",
        "tuning.output",
        f"!has(object.tuning) || (({output}.image.orValue('') != '') != ({output}.{volume}) && "
        f"({output}.image.orValue('') == '' || {output}.imagePushSecret.orValue('') != ''))",
        "the result goes to an image, with a Secret to push it with, or to a volume",
        "a volume with a preset of KAITO v0.4 and before, or one that keeps nothing",
    )


def _tuning_references() -> Iterator[Rule]:
    data, output = "variables.tuning.?input", "variables.tuning.?output"
    for side in ("input", "output"):
        reference = f"variables.tuning.?{side}.image.orValue('')"
        yield Rule(
            "KW145",
            f"tuning.{side}.image",
            f"{reference} == '' || ({is_image(reference)})",
            "not an image: [registry[:port]/]path[:tag][@digest]",
            _LONG_IMAGES,
        )
    secrets = f"{data}.imagePullSecrets.orValue([])"
    yield Rule(
        "KW148", "tuning.input.imagePullSecrets[]", each(secrets, is_name("item")), "not a Secret's name"
    )
    secret = f"{output}.imagePushSecret.orValue('')"
    yield Rule(
        "KW148",
        "tuning.output.imagePushSecret",
        f"{secret} == '' || ({is_name(secret)})",
        "not a Secret's name",
    )
