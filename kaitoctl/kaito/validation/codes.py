"""What each code means, for people: `kaitoctl explain CODE` and docs/validation.md print this table.

Codes are stable: scripts and documents may rely on them. `upstream` tells facts: the line that KAITO's
admission webhook answers with, or what its controller does with what the webhook lets through.

Source: KAITO v0.3.2, v0.4.0, v0.4.6, v0.9.4 and v0.12.0 (`api/*/workspace_validation.go`, the controllers).
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

_ALL = "v0.3 to v0.12"
_OLD = "v0.3, v0.4"
_HUB = "v0.9, v0.12"
_CHECKED = "v0.4.6, v0.9, v0.12"


class Code(Struct, frozen=True):
    """A kind of problem.

    Args:
        title: a few words.
        meaning: a paragraph: the rule, and what to do.
        applies: the KAITO versions for which it is judged.
        upstream: what KAITO itself answers or does, one entry per case; empty when it has no say.
    """

    title: str
    meaning: str
    applies: str = _ALL
    upstream: tuple[str, ...] = ()


CODES: Mapping[str, Code] = {
    "KW100": Code(
        "cannot be read",
        "The document is not YAML or JSON that can be read safely: a syntax error, a key twice in one "
        "map, aliases that multiply beyond reason, a tag that is not plain data, too many values, or no "
        "object at all. Of a key that stands twice, kubectl takes the last one without a word, and bytes "
        "that are not UTF-8 become question marks: the cluster then has something else than the file says.",
    ),
    "KW101": Code(
        "a value that does not fit",
        "A value does not fit the schema of its field: a wrong type, a missing field, or a value that is "
        "not among those allowed.",
        _ALL,
        (
            "The API server refuses the Workspace (422 Invalid) before the webhook sees it. A status of a "
            "wrong type is dropped on create and update instead; only kubectl apply --server-side minds it.",
        ),
    ),
    "KW102": Code(
        "unknown field",
        "The schema of this API version and KAITO version has no such field; most often the name is "
        "misspelt or belongs to another version.",
        _ALL,
        (
            "kubectl refuses it with strict field validation, its default. Clients without it have the "
            "field dropped without a word, so what was meant does not happen.",
        ),
    ),
    "KW103": Code(
        "not a Workspace",
        "The object is not a Workspace of an API version that the KAITO in question serves: v0.3 and v0.4 "
        "serve kaito.sh/v1alpha1, v0.4.5 and later serve v1alpha1 and v1beta1.",
    ),
    "KW104": Code(
        "too many problems",
        "The document has more problems than anybody would read; the first hundred are shown.",
    ),
    "KW105": Code(
        "unknown key or wrong type in a pod template or volume",
        "inference.template is a pod template, and volumeSource a volume, of Kubernetes. KAITO's webhook "
        "decodes them: keys must be those that Kubernetes has, and values of its types.",
        _ALL,
        ("admission webhook refuses it: decoding request failed: cannot decode incoming new object: ...",),
    ),
    "KW106": Code(
        "metadata of a wrong type",
        "A field of metadata has a wrong type. Labels and annotations are text: what YAML would read as a "
        "number or as true or false is put in quotes.",
        _ALL,
        ("The API server refuses the Workspace (400 Bad Request) before the webhook sees it.",),
    ),
    "KW107": Code(
        "too many annotations",
        "The keys and values of all annotations together may have 262144 bytes (256 KiB). `kubectl apply` "
        "adds one with the whole manifest; `kubectl apply --server-side` does not.",
        _ALL,
        ("The API server refuses it: `metadata.annotations: Too long: must have at most 262144 bytes`",),
    ),
    "KW108": Code(
        "metadata that Kubernetes refuses",
        "A finalizer is a qualified name; an owner has apiVersion, kind, name and "
        "uid, and only one of them is the controller; generateName begins a name.",
        _ALL,
        ("The API server refuses the Workspace (422 Invalid) before the webhook sees it.",),
    ),
    "KW109": Code(
        "the same object twice",
        "Two documents of the input have the same kind, namespace and name. `kubectl apply` applies one "
        "after "
        "the other, so the last one stays; `kubectl create` refuses the second.",
    ),
    "KW110": Code(
        "a name that cannot be used",
        "The Workspace's name is also the name of its Service and a label value, so it must be a DNS "
        "label that starts with a letter: at most 63 lower-case letters, digits and hyphens. Kubernetes 1.37 "
        "takes a Service whose name starts with a digit, older versions do not.",
        _ALL,
        (
            "v0.3 admits other names and then fails to create the Service.",
            "v0.4 and later: `invalid value: ...: name` unless it is a DNS label; a digit in front is "
            "admitted.",
        ),
    ),
    "KW111": Code(
        "a name too long for -headless",
        "A second Service is called like the Workspace plus -headless. Together they must fit in 63 "
        "characters, which leaves 54 for the Workspace. v0.3 and v0.4 make it for distributed presets, "
        "v0.12 for all.",
        _ALL,
        ("KAITO admits it and then fails to create the Service.",),
    ),
    "KW112": Code(
        "not a namespace's name",
        "A namespace's name is a DNS label: at most 63 lower-case letters, digits and hyphens.",
    ),
    "KW113": Code(
        "not a label or annotation",
        "A label or annotation breaks the syntax of Kubernetes: a key is an optional DNS name and a "
        "slash, then at most 63 letters, digits, hyphens, underscores and dots; a label's value likewise.",
        _ALL,
        ("The API server refuses labels and annotations; of the selector, nodes can never match it.",),
    ),
    "KW114": Code(
        "an annotation's value that KAITO does not know",
        "KAITO acts as if the annotation were not there. kaito.sh/enablelb counts only as True with a "
        "capital T, kaito.sh/runtime as transformers or vllm, and kaito.sh/bypass-resource-checks with any "
        "value.",
        _ALL,
        ("KAITO admits it and ignores it.",),
    ),
    "KW115": Code(
        "almost an annotation of KAITO",
        "The key looks like one that KAITO reads, but is not: kaito.sh/enable-lb instead of "
        "kaito.sh/enablelb.",
        _ALL,
        ("KAITO admits it and ignores it.",),
    ),
    "KW116": Code(
        "an annotation of another KAITO version",
        "The annotation means something, but not to the KAITO in question.",
        _OLD,
        ("KAITO admits it and ignores it.",),
    ),
    "KW117": Code(
        "an annotation's value that KAITO refuses",
        "kaito.sh/performance-mode is balanced, interactivity or throughput; kaito.sh/use-local-weights "
        "is true or false; kaito.sh/node-image-family is ubuntu or azurelinux. They are checked on create "
        "of v1beta1.",
        _HUB,
        ("The webhook refuses the Workspace.",),
    ),
    "KW118": Code(
        "a field that kaitoctl's controller does not use",
        "The Workspace asks for something that kaitoctl's own controller does not do. It does the rest, "
        "and says the same in the condition FieldsIgnored of the Workspace.",
        "kaitoctl",
    ),
    "KW119": Code(
        "a static mirror that cannot be reached",
        'With inference.kaito.sh/static-model-mirror: "true" KAITO streams the weights from a store that '
        "is there already. It needs the annotations stream-datarefs-url, stream-identity-client-id and "
        "stream-source-type (public or byo) of the same prefix. This counts while KAITO's gate "
        "ModelStreaming is on.",
        "v0.12",
        (
            "KAITO admits it, and sets the condition ModelMirrorReady to False with the reason "
            "ModelStreamingInvalidAnnotations; nothing is served.",
        ),
    ),
    "KW120": Code(
        "no label selects the nodes",
        "resource.labelSelector.matchLabels says which nodes may be used and what new nodes are labelled "
        "with. Without a label every node of the cluster is a candidate, and pods match none.",
        _ALL,
        (
            "v0.3 and v0.4 admit it; the pods' node affinity is empty and matches no node.",
            "v0.4.6 and later admit it; nodes are found by KAITO's own labels, and with byo every node is "
            "taken.",
        ),
    ),
    "KW121": Code(
        "matchExpressions are ignored",
        "KAITO accepts an In with one value and then ignores it when it looks for nodes and when it "
        "places pods. Say the same with matchLabels.",
        _ALL,
        ("KAITO admits it and ignores it.",),
    ),
    "KW122": Code(
        "a label that KAITO keeps for itself",
        "KAITO sets this label itself, so no node of yours carries it. From v0.12 on it is dropped from "
        "the selector.",
        _ALL,
        ("KAITO admits it; v0.12 drops the label with a line in its log.",),
    ),
    "KW123": Code(
        "too few nodes",
        "The number of nodes must be at least 1.",
        _ALL,
        ("KAITO admits it; nothing ever runs. On vLLM, v0.9 and later estimate the number themselves.",),
    ),
    "KW124": Code(
        "not a node's name",
        "An entry of preferredNodes is not the name of a node, which is a DNS name.",
    ),
    "KW125": Code(
        "a node twice",
        "A node stands twice in preferredNodes.",
    ),
    "KW126": Code(
        "preferredNodes are ignored",
        "KAITO from v0.12 on does not read preferredNodes of any API version. With --node-provisioner byo it "
        "takes nodes by their labels, with karpenter those that also are of the instance type; with "
        "azure-gpu-provisioner, the default, it takes none but its own, and buys them.",
        "v0.12",
        ("KAITO admits it and ignores it.",),
    ),
    "KW127": Code(
        "only reserved labels",
        "All labels of the selector are KAITO's own; without them none is left.",
        "v0.12",
        (
            "`invalid value: matchLabels must contain at least one non-reserved label: "
            "resource.labelSelector.matchLabels`",
        ),
    ),
    "KW128": Code(
        "a selector that KAITO cannot use",
        "The selector must be sayable with labels alone: of matchExpressions only In with one value.",
        _ALL,
        (
            "create: `invalid value: ERR: resource.labelSelector`",
            "update: `Only allow matchLabels or 'IN' matchExpression: resource.labelSelector`",
        ),
    ),
    "KW129": Code(
        "a partition that cannot be",
        "resource.partition divides GPUs of nodes of your own: not for tuning, mode mig with a profile "
        "that KAITO knows, mode accelerator with a count, and KAITO's gate enableMIG or enableAccelerator "
        "switched on. Whether it is cannot be told offline, unless --feature-gates says so.",
        "v0.12",
        (
            "`GPU partitioning is only supported with BYO nodes (disableNodeAutoProvisioning=true): "
            "resource.partition`",
            "`MIG support is not enabled, set feature gate enableMIG=true: resource.partition`, and so on "
            "for the others; on update only `field is immutable: resource.partition`",
        ),
    ),
    "KW130": Code(
        "unknown instance type",
        "The instance type is not in KAITO's tables, so it is not known whether the preset fits. For a "
        "type of your own see kaitoctl's catalog file.",
        _ALL,
        (
            "v0.3 admits any name that starts with Standard_N or Standard_D, v0.4 and later only on "
            "azure; v0.12 then fails because the type has no configuration.",
            "others: `invalid value: Unsupported instance type I. Supported SKUs: LIST: "
            "resource.instanceType`",
            "v0.3 knows Azure's types only, whatever the cloud.",
        ),
    ),
    "KW131": Code(
        "not NVIDIA GPUs",
        "KAITO's tables have the instance type, but its devices are not NVIDIA GPUs: nodes do not offer "
        "nvidia.com/gpu, and pods would wait for ever.",
        _ALL,
        ("KAITO admits it.",),
    ),
    "KW132": Code(
        "an instance type that does not exist",
        "KAITO's tables have this name, but the cloud does not: no node ever carries it.",
        _ALL,
        ("KAITO admits it; the cloud refuses the node.",),
    ),
    "KW133": Code(
        "hardware that the image is not built for",
        "Nodes of this instance type are not amd64, or their GPUs are older than the server's programs: vLLM "
        "takes compute capability 7.0 in v0.4 to v0.10 and 7.5 since v0.11, the transformers of v0.3 and "
        "v0.4 take 5.0.",
        _ALL,
        ("KAITO admits it; the image does not start.",),
    ),
    "KW134": Code(
        "too few GPUs",
        "The preset needs more GPUs than the instance type has. A preset that runs on one node must find "
        "them on each node; KAITO counts all nodes together and lets too few through.",
        _OLD,
        (
            "`invalid value: Insufficient number of GPUs: Instance type I provides A, but preset P "
            "requires at least B: resource.instanceType` (A is count times GPUs)",
        ),
    ),
    "KW135": Code(
        "too little memory per GPU",
        "The preset needs more memory per GPU than the instance type has.",
        _OLD,
        (
            "`invalid value: Insufficient per GPU memory: Instance type I provides A per GPU, but preset "
            "P requires at least B per GPU: resource.instanceType`",
        ),
    ),
    "KW136": Code(
        "too little GPU memory",
        "The preset needs more GPU memory than the nodes have. A preset that runs on one node must find "
        "it on each node; KAITO adds all nodes up, lets it through, and the model runs out of memory. "
        "v0.12 checks only the transformers runtime and nodes of your own; on vLLM it estimates the "
        "number of nodes. The annotation kaito.sh/bypass-resource-checks switches the check off there.",
        _ALL,
        (
            "`invalid value: Insufficient total GPU memory: Instance type I has a total of A, but preset "
            "P requires at least B: resource.instanceType` (A is count times memory)",
        ),
    ),
    "KW137": Code(
        "processes that cannot be shared",
        "A distributed preset starts a fixed number of processes, shared equally by the nodes. A count "
        "that does not divide it loses processes, and the model never starts.",
        _OLD,
        ("KAITO admits it and rounds down.",),
    ),
    "KW138": Code(
        "no instance type",
        "Without instanceType, v1alpha1 means Standard_NC12s_v3 (since v0.4.5 Standard_NC24ads_A100_v4), "
        "which also decides how many GPUs each pod asks for; v1beta1 has no default since v0.9 and wants one "
        "unless "
        "the nodes are your own (--node-provisioner byo).",
        _ALL,
        (
            "v1beta1: `missing field(s): spec.instanceType is required when node auto-provisioning is "
            "enabled, spec.resource.instanceType`",
        ),
    ),
    "KW139": Code(
        "an instance type for nodes of your own",
        "Where KAITO v0.12 makes no nodes (nodeProvisioner: byo), nodes are found by label alone, and "
        "instanceType must be empty.",
        _HUB,
        (
            "`invalid value: instanceType must be empty when node auto-provisioning is disabled (BYO "
            "scenario): spec.resource.instanceType`",
        ),
    ),
    "KW140": Code(
        "neither or both of inference and tuning",
        "A Workspace serves or tunes: exactly one of inference and tuning is set.",
        _ALL,
        (
            "`Either Inference or Tuning must be specified, not neither: spec`",
            "`Either Inference or Tuning must be specified, but not both: spec`",
        ),
    ),
    "KW141": Code(
        "neither or both of preset and template",
        "Inference runs a preset or a pod template of your own: exactly one of preset and template is set.",
        _ALL,
        (
            "`missing field(s): inference.Preset or Template must be specified`",
            "`Preset and Template cannot be set at the same time: `",
        ),
    ),
    "KW142": Code(
        "unknown preset",
        "The preset is not one of this KAITO version. Up to v0.4 names are compared with case; v0.12 "
        "takes any Hugging Face id (owner/model) and some short names, and dropped phi-2 and the falcons.",
        _ALL,
        (
            "inference, v0.3 and v0.4: the webhook crashes (`model is not registered`); its line `invalid "
            "value: Unsupported inference preset name P: inference.presetName` is never seen.",
            "tuning: `invalid value: Unsupported tuning preset name P: tuning.presetName`",
            "v0.12, phi-2: `Model phi-2 is deprecated and no longer supported: resource.presetName`",
        ),
    ),
    "KW143": Code(
        "a preset without a public image",
        "The preset's image is not published: accessMode must be private, with an image of your own.",
        _OLD,
        ("`This preset only supports private AccessMode, AccessMode must be private to continue: `",),
    ),
    "KW144": Code(
        "private without image",
        "accessMode private takes the image from presetOptions.image, which is not set.",
        "v0.3, v0.4, v0.12 with v1alpha1",
        ("`When AccessMode is private, an image must be provided in PresetOptions: `",),
    ),
    "KW145": Code(
        "not an image",
        "Not a reference to a container image: [registry[:port]/]path[:tag][@digest], the path in lower "
        "case.",
        _ALL,
        (
            "tuning on create: `invalid value: Repository name must be lowercase: tuning.Input.Image` (or "
            "Output)",
            "adapters and accessMode private: admitted on create, and no pod ever pulls it.",
        ),
    ),
    "KW146": Code(
        "an image that is ignored",
        "An image or pull secret is given, but accessMode is public: KAITO ignores it.",
        _OLD,
        ("KAITO admits it and ignores it.",),
    ),
    "KW147": Code(
        "a preset that this version or runtime lacks",
        "The chosen KAITO version has no image, or no such runtime, for this preset. From v0.4 on the "
        "runtime is vLLM unless the annotation kaito.sh/runtime says transformers or the gate vLLM is off.",
        _OLD,
        (
            "v0.4 admits it, buys the nodes, and then: `distributed inference is not supported for "
            "runtime vllm`; for others without vLLM the command is nothing but a flag.",
        ),
    ),
    "KW148": Code(
        "not a Secret's name",
        "A Secret's name is a DNS name of at most 253 characters.",
    ),
    "KW149": Code(
        "a model outside the catalog",
        "The Hugging Face id is in no catalog: KAITO asks the Hugging Face API for it whenever it looks "
        "at the Workspace, and nothing about its size can be said offline. kaitoctl's controller looks "
        "for it in its own --catalog, and refuses what is not there: start it with --catalog ID=FOLDER, "
        "FOLDER with the model's config.json. A sandbox takes the option when it starts: `sandbox down`, "
        "then `sandbox up --catalog ID=FOLDER`.",
        _HUB,
        (
            "Read from the network at admission; a gated model is refused: `invalid value: failed to get "
            "model preset: ... authentication required for accessing URL: inference.preset`",
        ),
    ),
    "KW150": Code(
        "too many adapters",
        "KAITO allows at most 10 adapters. It counts them on create only, so an update is where more slip "
        "through.",
        _ALL,
        (
            "create: `Number of Adapters exceeds the maximum limit, maximum of 10 allowed: `",
            "update: admitted.",
        ),
    ),
    "KW151": Code(
        "an adapter without a usable source",
        "An adapter comes from an image, source.image; from v0.12 on a volume will do. KAITO looks at "
        "sources on update only, but the controller's own writes are updates, so a bad one never gets "
        "anywhere.",
        _ALL,
        (
            "no source: the webhook crashes on create; update: `missing field(s): inference.Source`",
            "update: `missing field(s): inference.Image of Adapter field must be specified`",
            "update: `Exactly one of URLs, Volume, or Image must be specified: inference.Adapters.Image, "
            "inference.Adapters.URLs, inference.Adapters.Volume`",
            "update, v0.3 and v0.4: `invalid value: Volume support is not implemented yet: "
            "inference.Adapters.Volume`",
        ),
    ),
    "KW152": Code(
        "an adapter's name that cannot name a container",
        "An adapter's name becomes the name of a container, so it must be a DNS label: at most 63 "
        "lower-case letters, digits and hyphens. v0.12 puts puller- or adapter-volume- before it, which "
        "leaves 56 or 48.",
        _ALL,
        (
            "update: `missing field(s): inference.Name of Adapter field must be specified`",
            "update, v0.3: `missing field(s): inference.Name of Adapter must be a valid DNS subdomain "
            "value` unless it is letters, digits and hyphens of any case",
            "v0.4 and later: `invalid value: ...: inference.adapters.source.name` unless it is a DNS "
            "subdomain",
        ),
    ),
    "KW153": Code(
        "two adapters of one name",
        "Two adapters have the same name.",
        _ALL,
        ("`Duplicate adapter source name found: NAME: `",),
    ),
    "KW154": Code(
        "an adapter called like the Workspace",
        "The Workspace's main container has its name, and two containers of a pod cannot share one.",
        _OLD,
        ("KAITO admits it; the pod is refused.",),
    ),
    "KW155": Code(
        "an image without path or tag",
        "KAITO up to v0.4 wants images of adapters and of tuning with a slash and a tag, as in "
        "registry/name:tag.",
        _OLD,
        (
            "tuning: `invalid value: Invalid image format, require full input image URL: "
            "tuning.Input.Image` (or output, tuning.Output.Image)",
            "adapters: the same on update, with inference.Adapters.Image; admitted on create, but then "
            "the controller's own writes are refused.",
        ),
    ),
    "KW156": Code(
        "not a strength",
        "An adapter's strength is a decimal from 0 to 1, written as text. KAITO lets NaN through.",
        _ALL,
        (
            "update: `Invalid strength value for Adapter 'NAME': ERR: inference.adapter`",
            "update: `Strength value for Adapter 'NAME' must be between 0 and 1: inference.adapter`",
            "create: admitted, but then the controller's own writes are refused.",
        ),
    ),
    "KW157": Code(
        "an adapter without strength",
        "KAITO up to v0.4 crashes on an adapter without strength, and takes the controller of all "
        "Workspaces down with it. kaitoctl's own controller takes it for 1.0.",
        _OLD,
        ("The controller dereferences nil.",),
    ),
    "KW158": Code(
        "adapters that this preset's server does not load",
        "KAITO copies them for no one, or not at all, and reports success.",
        "v0.3, v0.4, v0.4.6, v0.9",
        (
            "v0.3 and v0.4 admit it and ignore it.",
            "v0.4.6 and v0.9 on vLLM: `Runtime validation: vLLM does not support LoRA adapters for this "
            "model: M: `",
        ),
    ),
    "KW159": Code(
        "adapters beside a template",
        "Adapters belong to a preset; beside a pod template nothing loads them.",
        _ALL,
        ("KAITO admits it and ignores it.",),
    ),
    "KW160": Code(
        "adapters on the default runtime",
        "From v0.4.0 on KAITO serves on vLLM unless the annotation kaito.sh/runtime says transformers, "
        "and the vLLM server of v0.4.0 copies adapters into the pod without loading them. kaitoctl's own "
        "controller serves on transformers.",
        "v0.4",
        ("KAITO admits it and ignores it.",),
    ),
    "KW161": Code(
        "strength on vLLM",
        "vLLM has no strength of adapters: leave it out, or choose the transformers runtime.",
        _CHECKED,
        ("`Runtime validation: vLLM does not support adapter strength: `",),
    ),
    "KW162": Code(
        "a model that transformers cannot serve",
        "The annotation kaito.sh/runtime chooses transformers, for which KAITO has no parameters of this "
        "model, or which cannot spread it over several nodes.",
        "v0.12",
        (
            "`Runtime validation: model M does not support inference with Huggingface Transformers "
            "runtime: `",
            "`Multi-node distributed inference is not supported with Huggingface Transformers runtime: `",
        ),
    ),
    "KW163": Code(
        "settings of private images are ignored",
        "From v0.12 on the image is always KAITO's base image; accessMode, presetOptions.image and "
        "presetOptions.imagePullSecrets are deprecated and unused.",
        "v0.12",
        ("KAITO admits it and ignores it.",),
    ),
    "KW164": Code(
        "count is ignored",
        "On vLLM KAITO estimates the number of nodes from the model's size, the GPUs' memory and "
        "max-model-len of the inference ConfigMap; resource.count is deprecated and overridden.",
        _HUB,
        ("KAITO admits it and ignores it.",),
    ),
    "KW165": Code(
        "v1alpha1 presets on v0.11 and v0.12",
        "The v1alpha1 webhook of v0.11 and v0.12 looks presets up in a registry that is filled on first use, "
        "and never under short names. Write the Workspace as v1beta1. v0.9 crashes on Hugging Face ids only.",
        "v0.9, v0.11 and v0.12 with v1alpha1",
        ("The webhook dereferences nil, and the call fails: `failed to call webhook: ... EOF`",),
    ),
    "KW166": Code(
        "no token for a gated model",
        "Hugging Face hands this model out to accounts that accepted its terms. Without "
        "presetOptions.modelAccessSecret (a Secret with the key HF_TOKEN) the weights cannot be fetched, "
        "unless they are on the nodes.",
        _CHECKED,
        (
            "v0.12 admits models of its catalog; the server then fails to load.",
            "v0.9: `This preset requires authentication and needs a modelAccessSecret with HF_TOKEN key "
            "under "
            "presetOptions to download the model: `; v0.4.6 says so of every preset that is downloaded",
        ),
    ),
    "KW167": Code(
        "an adapter's pull secrets are ignored",
        "v0.3 takes only the preset's pull secrets when its image is private. Add the adapter's to "
        "presetOptions.imagePullSecrets.",
        "v0.3",
        ("KAITO admits it and ignores it.",),
    ),
    "KW168": Code(
        "the template's affinity is ignored",
        "KAITO overwrites the affinity of a pod template with its own.",
        _OLD,
        ("KAITO admits it and ignores it.",),
    ),
    "KW169": Code(
        "no Service for a template",
        "v0.3 makes no Service for a pod template, so the annotation kaito.sh/enablelb does nothing.",
        "v0.3",
        ("KAITO admits it and ignores it.",),
    ),
    "KW170": Code(
        "tuning on several nodes",
        "Tuning runs on one node: count must be 1.",
        _ALL,
        (
            "`invalid value: Tuning does not currently support multinode configurations. Please set the "
            "node count to 1. Future support with DeepSpeed will allow this.: resource.count`",
        ),
    ),
    "KW171": Code(
        "tuning without a preset that can be tuned",
        "Tuning needs a preset, and one that can be tuned.",
        _ALL,
        (
            "no preset: `missing field(s): tuning.Preset`",
            "one that cannot be tuned: admitted, and then the controller crashes; v0.12's recovers and "
            "repeats.",
        ),
    ),
    "KW172": Code(
        "not a tuning method",
        "The tuning method is lora or qlora, in lower case; other spellings pass the webhook and then fail.",
        _ALL,
        (
            "`invalid value: METHOD: tuning.Method`, compared without case; the controller compares with "
            "case.",
        ),
    ),
    "KW173": Code(
        "not one source of data",
        "Tuning reads its data from exactly one of urls and image; from v0.12 on volumeSource will do, too.",
        _ALL,
        (
            "no input: `missing field(s): tuning.Input`",
            "`Exactly one of URLs, Volume, or Image must be specified: tuning.Input.Image, "
            "tuning.Input.URLs, tuning.Input.Volume`",
            "v0.3 and v0.4: `invalid value: Volume support is not implemented yet: tuning.Input.Volume`",
        ),
    ),
    "KW174": Code(
        "nowhere to put the result",
        "Tuning pushes its result to output.image, with output.imagePushSecret; from v0.12 on a volume "
        "will do, too.",
        _ALL,
        (
            "no output: `missing field(s): tuning.Output`",
            "`missing field(s): tuning.Output.At least one of Volume or Image must be specified`",
            "`missing field(s): tuning.Output.Must specify imagePushSecret with destination image`",
            "v0.3 and v0.4: `invalid value: Volume support is not implemented yet: tuning.Output.Volume`",
        ),
    ),
    "KW175": Code(
        "a URL that KAITO does not fetch",
        "Data for tuning comes from http or https URLs that are not local, private or a cloud's metadata "
        "service.",
        "v0.12",
        ("The webhook refuses the Workspace.",),
    ),
    "KW176": Code(
        "tuning is not bound to its nodes",
        "Up to v0.4 the tuning Job has no node affinity: KAITO looks at preferredNodes, and the pod lands "
        "on any node with a free GPU.",
        _OLD,
        ("KAITO admits it; the node choice has no effect on the pod.",),
    ),
    "KW177": Code(
        "a token for weights that are in the image",
        "KAITO v0.4.6 to v0.10 refuse presetOptions.modelAccessSecret for a preset whose image holds the "
        "weights.",
        "v0.4.6, v0.9",
        ("`This preset does not require a modelAccessSecret with HF_TOKEN key under presetOptions: `",),
    ),
    "KW180": Code(
        "inference and tuning cannot be toggled",
        "inference and tuning cannot be added to, or removed from, a Workspace that exists.",
        _ALL,
        (
            "`Inference field cannot be toggled once set: spec.inference`",
            "`Tuning field cannot be toggled once set: spec.tuning`",
            "Derived: switching one on dereferences nil up to v0.4, and the call fails without the line.",
        ),
    ),
    "KW181": Code(
        "a field that cannot change",
        "KAITO does not let this field change; delete the Workspace and recreate it.",
        _ALL,
        (
            "`field is immutable: resource.count` / `resource.instanceType` / `resource.labelSelector` / "
            "`inference.preset`",
            "`Preset cannot be changed: tuning.Preset`",
            "`Method cannot be changed: tuning.Method`",
            "`invalid value: During tuning Name field cannot be changed once set: tuning.Input.Name`",
            "v0.12: `instanceType cannot be changed once set when node auto-provisioning is enabled: "
            "resource.instanceType`",
            "v0.12, while the gate ModelStreaming is on: `annotation kaito.sh/model-streaming is immutable "
            "after creation: metadata.annotations[kaito.sh/model-streaming]`",
        ),
    ),
    "KW182": Code(
        "a template cannot be toggled",
        "A pod template cannot be set or unset on a Workspace that exists.",
        _ALL,
        ("`field cannot be unset/set if it was set/unset: inference.template`",),
    ),
    "KW183": Code(
        "a changed template is ignored",
        "KAITO accepts a changed pod template and never applies it to the running pods.",
        _ALL,
        ("KAITO admits it and ignores it.",),
    ),
    "KW184": Code(
        "two different Workspaces",
        "Old and new have different names or namespaces: that is not an update, and the rules for updates do "
        "not apply.",
    ),
    "KW185": Code(
        "a changed annotation is ignored",
        "KAITO reads kaito.sh/enablelb only when it makes the Service; changing it later does nothing.",
        _ALL,
        ("KAITO admits it and ignores it.",),
    ),
    "KW186": Code(
        "no such Secret",
        "A Secret that the Workspace names is not in its namespace. Judged only where a cluster is named and "
        "Secrets may be read. A public image needs no pull secret.",
        _ALL,
        ("KAITO admits it; the pods start without the token, or their image is not pulled.",),
    ),
    "KW187": Code(
        "a Secret without the key that is read",
        "modelAccessSecret has the key HF_TOKEN; pull and push secrets are of type "
        "kubernetes.io/dockerconfigjson "
        "and have the key .dockerconfigjson. Judged only where a cluster is named and Secrets may be read.",
        _ALL,
        ("KAITO admits it; the pods fail on it.",),
    ),
    "KW188": Code(
        "no such PersistentVolumeClaim",
        "A claim that a volumeSource names is not in the Workspace's namespace. Judged only where a "
        "cluster is named.",
        _ALL,
        ("KAITO admits it; the pods cannot be scheduled.",),
    ),
    "KW189": Code(
        "a custom pod that Kubernetes refuses",
        "inference.template has no containers, a container without name or image, a name twice, a mount of a "
        "volume that the pod does not have, or a restartPolicy other than Always.",
        _ALL,
        ("KAITO admits it; the API server refuses the workload, as the controller's log says.",),
    ),
    "KW190": Code(
        "no such ConfigMap",
        "The ConfigMap that config names is not among those given.",
        _ALL,
        (
            "`Failed to evaluate validateConfigMap: ConfigMap 'C' specified in 'config' not found in "
            "namespace 'NS': config: tuning.Config`",
        ),
    ),
    "KW191": Code(
        "a ConfigMap without its parameters",
        "A ConfigMap for tuning holds the text training_config.yaml with a map training_config; one for "
        "inference (v0.12) holds inference_config.yaml.",
        _ALL,
        (
            "`missing field(s): training_config.yaml in ConfigMap`",
            "`invalid value: Expected 'training_config' key to contain a map: training_config.yaml`",
        ),
    ),
    "KW192": Code(
        "an unknown section of parameters",
        "Sections are ModelConfig, QuantizationConfig, LoraConfig, TrainingArguments, DatasetConfig, "
        "DataCollator.",
        _ALL,
        ("`invalid value: Unrecognized section: S: training_config.yaml`",),
    ),
    "KW193": Code(
        "quantization that does not match the method",
        "load_in_4bit and load_in_8bit are absent or boolean and never both true; lora wants neither "
        "true, qlora one of them.",
        _ALL,
        (
            "`invalid value: value must be either nil or a boolean, got type T: load_in_4bit`",
            "`Cannot set both 'load_in_4bit' and 'load_in_8bit' to true in ConfigMap 'C': "
            "QuantizationConfig`",
            "`For method 'lora', 'load_in_4bit' or 'load_in_8bit' in ConfigMap 'C' must not be true: "
            "QuantizationConfig`",
            "`missing field(s): For method 'qlora', either 'load_in_4bit' or 'load_in_8bit' must be true "
            "in ConfigMap 'C', QuantizationConfig`",
        ),
    ),
    "KW194": Code(
        "an output folder outside /mnt",
        "TrainingArguments.output_dir is a folder below /mnt.",
        _ALL,
        (
            "`invalid value: output_dir is not a string in ConfigMap 'C' in namespace 'NS': output_dir`",
            "`invalid value: Invalid output_dir specified: 'D', must be a directory: output_dir`",
        ),
    ),
    "KW195": Code(
        "a context longer than the model's",
        "max-model-len of the inference ConfigMap may not exceed the model's limit.",
        _HUB,
        ("The webhook refuses the Workspace.",),
    ),
    "KW196": Code(
        "parameters that are not flat",
        "The section vllm of an inference ConfigMap is a map of plain values: each becomes a flag of the "
        "server.",
        _CHECKED,
        ("`Failed to parse inference_config.yaml: yaml: unmarshal errors: ...: inference_config.yaml`",),
    ),
    "KW197": Code(
        "a context that is not a whole number",
        "max-model-len of the inference ConfigMap is a whole number, written with digits alone.",
        _HUB,
        ("v1beta1: `invalid value: max-model-len must be an integer: ERR: max-model-len`",),
    ),
    "KW198": Code(
        "no context length",
        "vLLM on several GPUs of less than 20 GiB each, and for v1alpha1 since v0.8 on several nodes, needs "
        "max-model-len in the ConfigMap that inference.config names. The chart's own ConfigMap does not "
        "say it.",
        "v0.4.6; v0.9 and v0.12 with v1alpha1",
        (
            "`missing field(s): max-model-len is required in the vllm section of inference_config.yaml when "
            "using multi-GPU instances with <20GB of memory per GPU`",
        ),
    ),
    "KW199": Code(
        "an annotation of streaming that is not read",
        "The annotation says how weights are streamed, and none are: KAITO's gate ModelStreaming is off, "
        "kaito.sh/model-streaming is disabled, the runtime is transformers, or the mirror is not static "
        "(or is). The weights come from elsewhere, most often from Hugging Face.",
        "v0.12",
        ("KAITO admits it and ignores it.",),
    ),
    "KW200": Code(
        "no node of your own",
        "Where KAITO v0.12 makes no nodes (nodeProvisioner: byo), nodes that carry all labels of "
        "resource.labelSelector must be there before a Workspace with a preset is created.",
        _HUB,
        ("`No nodes found matching the specified label selector: `",),
    ),
    "KW201": Code(
        "nodes of your own that KAITO cannot reckon with",
        "Every node that matches must carry the labels nvidia.com/gpu.product, nvidia.com/gpu.count and "
        "nvidia.com/gpu.memory of NVIDIA's feature discovery, and all must say the same.",
        _HUB,
        (
            "`Failed to get GPU config from nvidia labels on node N: ...: `",
            "`Non-uniform GPU product: ...`, `Non-uniform GPU count: ...`, `Non-uniform GPU memory: ...`",
        ),
    ),
    "KW202": Code(
        "a value that vLLM refuses",
        "A key of the section vllm in inference_config.yaml has a value with which the server does not "
        "start: a context of no token, a share of GPU memory beyond 1, no process. KAITO hands each on as a "
        "flag and judges none but max-model-len.",
        _HUB,
        ("KAITO admits it; the server ends with an error of its options.",),
    ),
    "KW203": Code(
        "a name that ends vLLM",
        "Kubernetes tells each container the Services of its namespace in environment variables. Of a "
        "Service vllm one is VLLM_PORT, which vLLM takes for a setting of its own, and ends; every vLLM of "
        "the namespace does. The Service is called as the Workspace: choose another name.",
        "v0.4 to v0.12, with vLLM",
        ("KAITO admits it; the server ends with `VLLM_PORT 'tcp://...' appears to be a URI`.",),
    ),
}
"""Every code that a `Problem` can carry."""
