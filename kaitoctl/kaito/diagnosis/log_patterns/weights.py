"""Weights that cannot be stored or read, and models that the server does not know."""

from __future__ import annotations

from kaitoctl.kaito.diagnosis.log_patterns.reading import (
    HUB,
    SAFETENSORS,
    TORCH,
    TRANSFORMERS,
    VLLM,
    WHERE,
    Reading,
    Row,
)

_AGAIN = "download or copy the files again; check that the disk has room"

PATTERNS: tuple[Row, ...] = (
    # --- disks
    (
        r"(?i)Disk quota exceeded|os error 122\b|\[Errno 122\]",
        Reading(
            "disk-full",
            "the quota of the volume that the server writes to is used up",
            "raise that quota (of the share, the file system or the user), or make room on it",
            "glibc strerror EDQUOT",
        ),
    ),
    (
        r"(?i)No space left on device|Not enough free disk space|os error 28\b",
        Reading(
            "disk-full",
            "the disk is full",
            "take nodes with a larger disk",
            f"glibc strerror; {HUB} file_download.py",
        ),
    ),
    (
        r"(?:PermissionError\b.{0,60}|Permission denied: ?|cannot (?:create|touch)[^'\"\n]{0,20})['\"]"
        r"(?P<path>/[^'\"\n]{0,160}(?:\.triton|torchinductor|\.cache/(?:vllm|flashinfer|torch)|numba)[^'\"\n]{0,80})",
        Reading(
            "path-not-writable",
            "the server may not write what it compiles to {path}",
            "set securityContext.fsGroup or runAsUser of the pod, or lead these caches (TRITON_CACHE_DIR, "
            "TORCHINDUCTOR_CACHE_DIR, VLLM_CACHE_ROOT, FLASHINFER_WORKSPACE_BASE) to a writable folder",
            f"Triton 3.5 runtime/cache.py; {TORCH} _inductor/runtime/cache_dir_utils.py; {VLLM} envs.py",
        ),
    ),
    (
        r"cannot create[^'\"\n]{0,20}['\"](?P<path>/mnt/adapter[^'\"\n]{0,160})['\"]: "
        r"(?P<why>Permission denied|Read-only file system)",
        Reading(
            "path-not-writable",
            "the files of {adapter} cannot be copied to {path}: {why}",
            "build its image with a USER that may write there (root, as busybox has), or let the pod's "
            "securityContext.fsGroup own the volume",
            "GNU coreutils 9, busybox; KAITO v0.12 pkg/workspace/manifests (adapter volume)",
        ),
    ),
    (
        r"Permission denied: ?['\"](?P<path>/mnt/adapter/[^'\"\n]{1,200})",
        Reading(
            "path-not-writable",
            "the server may not read {path}, a file of {adapter}",
            "let everybody read the files in the adapter's image (chmod -R a+rX /data), and build it again",
            "Python 3.12; KAITO v0.12 pkg/workspace/manifests (adapter volume)",
        ),
    ),
    (
        r"(?i)Read-only file system(?:: ?['\"](?P<path>[^'\"\n]{1,200}))?|os error 30\b",
        Reading(
            "path-not-writable",
            "the server cannot write: the file system is read-only",
            "give the server a writable volume there, or point HF_HOME (and the cache) to one",
            "glibc strerror EROFS",
        ),
    ),
    (
        r"(?:PermissionError\b.{0,60}|Permission denied: ?|"
        r"PermissionError at )['\" ](?P<path>/[^'\" \n]{1,200})",
        Reading(
            "path-not-writable",
            "the server has no rights to {path}",
            "set securityContext.fsGroup or runAsUser of the pod, or point HF_HOME (and the cache) elsewhere",
            f"Python 3.12; {TRANSFORMERS} utils/hub.py",
        ),
    ),
    (
        r"cannot (?:create|open|access|touch)[^'\"\n]{0,20}['\"](?P<path>/[^'\"\n]{1,200})['\"]: "
        r"Permission denied",
        Reading(
            "path-not-writable",
            "the server has no rights to {path}",
            "set securityContext.fsGroup or runAsUser of the pod, or point HF_HOME (and the cache) elsewhere",
            "GNU coreutils 9",
        ),
    ),
    (
        r"cannot create (?P<path>/[^\s:'\"]{1,200}): Permission denied",
        Reading(
            "path-not-writable",
            "the server has no rights to {path}",
            "set securityContext.fsGroup or runAsUser of the pod, or write elsewhere in its command",
            "dash 0.5 redir.c; busybox ash",
        ),
    ),
    (
        r"PermissionError: |Permission denied \(os error 13\)",
        Reading(
            "path-not-writable",
            "the server has no rights to a file that it needs",
            "set securityContext.fsGroup or runAsUser of the pod, or point HF_HOME (and the cache) elsewhere",
            f"Python 3.12; {HUB}",
            depth=1,
        ),
    ),
    # --- files that are broken
    (
        # 118 is the letter with which a pointer begins, read as an instruction of a pickle.
        r"(?i)git-lfs\.github\.com/spec|git-?lfs pointer|invalid load key, 'v'|Unsupported operand 118\b|"
        r"Header ?Too ?Large",
        Reading(
            "model-files-broken",
            "the weights are no weights: mostly a git-lfs pointer of some 130 bytes stands in their place",
            "fetch the files themselves (git lfs pull) and build the image or volume again",
            f"{SAFETENSORS} src/tensor.rs; {TORCH} torch/serialization.py",
            adapter="if any",
        ),
    ),
    (
        r"(?:WeightsUnpickler error: )?Unsupported (?:global|class): (?:GLOBAL )?(?P<what>[\w.]{1,100})",
        Reading(
            "model-files-broken",
            "the weights are a pickle that holds more than tensors ({what}), which PyTorch from 2.6 on does "
            "not load",
            "save them as safetensors, or use a copy of the model that has them so; copying them again does "
            "not help",
            f"{TORCH} torch/_weights_only_unpickler.py",
            adapter="if any",
        ),
    ),
    (
        r"(?i)Header ?Too ?Small|Invalid ?Header ?Length|Metadata ?Incomplete ?Buffer|"
        r"incomplete metadata, file|"
        r"unexpected EOF, expected|file should be of size \d+ but has size|PytorchStreamReader failed|"
        r"not a ZIP archive|failed finding central directory|IncompleteSnapshotError",
        Reading(
            "model-files-broken",
            "a weights file is cut off: a copy or download was not finished",
            _AGAIN,
            f"{SAFETENSORS} src/tensor.rs; {TORCH} caffe2/serialize/inline_container.cc; {HUB}",
            adapter="if any",
        ),
    ),
    (
        r"(?i)SafetensorError|Error while deserializ|"
        r"(?<!exceptions\.)Invalid ?Header(?: ?Deserialization)?\b(?! value)|"
        r"invalid (?:JSON|UTF-8) in header|TensorInvalidInfo|ValidationOverflow|invalid load key|"
        r"UnpicklingError|Unable to load weights from|Weights only load failed",
        Reading(
            "model-files-broken",
            "a weights file cannot be read",
            _AGAIN,
            f"{SAFETENSORS} src/tensor.rs, bindings/python/src/lib.rs; {TORCH} torch/serialization.py",
            adapter="if any",
        ),
    ),
    (
        r"the config file at '(?P<what>[^'\n]{1,200})' is not a valid JSON|"
        r"(?:reading|parsing) '?(?P<file>/[^'\n]{1,200}\.json)'?: (?:Expecting|Extra data)",
        Reading(
            "model-files-broken",
            "{what}{file} is no JSON: it is empty, cut off, or something else stands in it",
            _AGAIN,
            f"{TRANSFORMERS} configuration_utils.py",
            adapter="if any",
        ),
    ),
    (
        r"JSONDecodeError: (?P<what>(?:Expecting|Extra data|Invalid|Unterminated|[Uu]nexpected).{1,80})|"
        r"^(?:ValueError|Exception): (?P<serde>(?:expected value|expected ident|EOF while parsing.{0,20}) "
        r"at line \d+ column \d+)",
        Reading(
            "model-files-broken",
            "a JSON file that the server reads (config.json, the tokenizer's, an adapter's) is empty or "
            "broken: {what}{serde}",
            "check the lines above it in the log for the file; fetch the model's files again, all of one "
            "revision",
            f"Python 3.12 json/decoder.py; tokenizers 0.22, serde_json 1; {TRANSFORMERS}",
            depth=1,
        ),
    ),
    (
        r"Unrecognized GGUF magic|GGUF.{0,40}(?:magic|is corrupted|truncated)|invalid GGUF|"
        r"Sorry, only GGUF v",
        Reading(
            "model-files-broken",
            "the GGUF file is none, or is cut off: mostly a git-lfs pointer of some 130 bytes stands in its "
            "place",
            "fetch the file itself (git lfs pull) and build the image or volume again",
            "gguf 0.17 gguf_reader.py; llama.cpp ggml/src/gguf.cpp",
        ),
    ),
    (
        r"Couldn't instantiate the backend tokenizer|Converting from SentencePiece and Tiktoken failed|"
        r"Unable to load vocabulary from file|Can't load tokenizer for|not a string or bytes.{0,20}vocab",
        Reading(
            "model-files-broken",
            "the model's tokenizer cannot be loaded: its files are missing beside the weights, or the image "
            "lacks the library that reads them (sentencepiece, tiktoken, protobuf)",
            "check that the folder or repository has tokenizer.json or tokenizer.model, all of one revision; "
            "else use an image with the library",
            f"{TRANSFORMERS} tokenization_utils_base.py, convert_slow_tokenizer.py",
            depth=1,
        ),
    ),
    (
        r"(?i)Cannot find any (?:safetensors )?model weights|Error no file named|No tokenizer file found|"
        r"does not appear to have (?:a file|files) named|No (?:safetensors|model) "
        r"(?:files|weights) found|Can't load (?:the )?(?:configuration|model|tokenizer) (?:of|for)",
        Reading(
            "model-files-broken",
            "a file of the model is missing",
            "check that the folder or repository has config.json, the tokenizer and all weights",
            f"{VLLM} model_executor/model_loader/default_loader.py; {TRANSFORMERS} utils/hub.py",
        ),
    ),
    (
        r"\[Errno 37\]|No locks available|os error 37\b",
        Reading(
            "volume-unavailable",
            "the storage of a volume does not lock files for the server, as its cache needs",
            "mount it with NFS 4, or with nolock (mountOptions), or keep HF_HOME on another volume",
            "glibc strerror ENOLCK; Linux nfs(5)",
        ),
    ),
    (
        r"\[Errno (?:5|107|116)\]|Input/output error|Stale (?:NFS )?file handle|"
        r"Transport endpoint is not connected|os error (?:5|107|116)\b|\[Errno 11[02]\].{0,40}: ['\"]/",
        Reading(
            "volume-unavailable",
            "the storage of a volume fails while the server reads it",
            "check the volume's storage and its driver's pod on the node; a broken mount needs a new pod",
            "glibc strerror EIO, ENOTCONN, ESTALE",
            depth=1,
        ),
    ),
    (
        r"Attempted to load weight \(.{1,80}\) into parameter|The size of tensor a \(\d+\) must match|"
        r"(?i:weights were not initialized from checkpoint)|"
        r"There is no module or parameter named|"
        r"^KeyError: '(?:model|lm_head|transformer|language_model|base_model|layers|visual)\.[\w.]{1,120}"
        r"(?:weight|bias|scale|scales|zeros?|zero_point|qzeros|g_idx|scale_inv)\w{0,10}'",
        Reading(
            "model-files-broken",
            "the weights do not fit the model's configuration",
            "use weights and config.json of one and the same model",
            f"{VLLM} model_executor/models/utils.py",
            adapter="if any",
        ),
    ),
    (
        # a layer's name, looked up once the weights are loaded (initialize_attn_backend)
        r"^KeyError: '(?P<layer>[\w.]{1,80}\.layers\.\d{1,4}\.(?:\w{1,40}\.)?(?:attn|linear_attn|mixer))'",
        Reading(
            "worker-died",
            "vLLM loses the layer {layer} when it divides the model among its workers",
            "take an image with another vLLM, or divide the model by tensor parallelism alone",
            f"{VLLM} v1/worker/gpu_model_runner.py; vllm-project/vllm#41287",
        ),
    ),
    # --- models that the server does not know
    (
        r"(?i)trust[-_]remote[-_]code=True|requires you to execute (?:the configuration file|custom code)|"
        r"contains custom code which must be executed",
        Reading(
            "model-unsupported",
            "the model brings program code of its own, which the server does not run unless it is allowed to",
            "set trust-remote-code only if you trust the model's author (" + WHERE + ")",
            f"{TRANSFORMERS} dynamic_module_utils.py; {VLLM} transformers_utils/config.py",
        ),
    ),
    (
        r"Model architecture (?P<kind>\w{1,80}) was supported in vLLM until v(?P<last>[\d.]{1,12}\d)",
        Reading(
            "model-unsupported",
            "the server's vLLM no longer knows models of the architecture {kind}: v{last} was the last that "
            "did",
            "use an image with vLLM {last}, or another model",
            f"{VLLM} model_executor/models/registry.py",
        ),
    ),
    (
        r"architectures .{1,120} failed to be inspected",
        Reading(
            "model-unsupported",
            "vLLM cannot load its own program for the model's architecture",
            "check the error above it in the log: mostly a library is missing, or of another version",
            f"{VLLM} model_executor/models/registry.py",
            depth=2,
        ),
    ),
    (
        r"Model architectures? \[?(?P<kind>[^\]\n]{1,120}?)\]? (?:are|is) not supported",
        Reading(
            "model-unsupported",
            "the server's vLLM does not know models of the architecture {kind}",
            "use an image with a newer vLLM, or another model",
            f"{VLLM} model_executor/models/registry.py",
        ),
    ),
    (
        r"GGUF model with architecture (?P<kind>\S{1,80}) is not supported|"
        r"Unknown gguf model_type: (?P<type>\S{1,80})",
        Reading(
            "model-unsupported",
            "the server cannot read GGUF files of the architecture {kind}{type}",
            "use the model's safetensors, or an image with a newer vLLM and transformers",
            f"{TRANSFORMERS} modeling_gguf_pytorch_utils.py; {VLLM} model_loader/gguf_loader.py",
        ),
    ),
    (
        r"model type `(?P<kind>[^`\n]{1,80})` but Transformers does not recognize",
        Reading(
            "model-unsupported",
            "the server's transformers does not know models of the type {kind}: it is older than the model",
            "use an image with newer transformers, or another model",
            f"{TRANSFORMERS} models/auto/configuration_auto.py",
        ),
    ),
    (
        r"No model architectures are specified",
        Reading(
            "model-files-broken",
            "config.json there names no architectures, and so not what is to load the weights",
            "use the config.json that belongs to the weights; with one of your own, add architectures "
            f"(or hf-overrides, {WHERE})",
            f"{VLLM} config/model_arch.py",
        ),
    ),
    (
        r"Found (?P<count>\d+) files matching the pattern: .{1,200}Mistral tokenizer",
        Reading(
            "model-files-broken",
            "the server is to use Mistral's own tokenizer, which has one file, and {count} are there",
            f"set tokenizer-mode: auto ({WHERE}), or use a copy of the model with tekken.json",
            f"{VLLM} tokenizers/mistral.py, mistral-common 1.8",
        ),
    ),
    (
        # A type that transformers does not know is told in other words, above.
        r"Should have a `model_type` key in its config\.json|Unrecognized model in \S",
        Reading(
            "model-files-broken",
            "config.json there does not say of what kind the model is (it has no model_type)",
            "check what is there: files of another format (params.json, GGUF), an adapter alone, or a part "
            "of a model; its config.json is to be that of the whole model, in transformers' format",
            f"{TRANSFORMERS} models/auto/configuration_auto.py",
        ),
    ),
    (
        r"(?i)rope_(?:scaling|parameters)\b.{0,80}(?:should|must|missing|unrecognized)|"
        r"unrecognized keys in `?rope_|does not recognize this architecture|"
        r"Unrecognized configuration class|Tokenizer class \S{1,80} does not exist|"
        r"has no vLLM implementation|"
        r"did not match any variant of untagged enum|Can't get model architectures",
        Reading(
            "model-unsupported",
            "the server's vLLM or transformers does not know this model: mostly they are older than it",
            "use an image with newer packages, or another model",
            f"{TRANSFORMERS} models/auto; {VLLM} model_executor/models/registry.py; tokenizers 0.22",
        ),
    ),
    (
        r"(?i)Unknown quantization method|Quantization method specified in the model config|"
        r"Invalid quantization method|quantization method .{1,60} is not supported|"
        r"is not supported for quantization method|bitsandbytes.{0,40}is required",
        Reading(
            "model-unsupported",
            "the server cannot serve the model's quantization as it is asked to",
            "leave the quantization option out, or use weights that this server supports",
            f"{VLLM} config/model.py, model_executor/model_loader/weight_utils.py",
        ),
    ),
    (
        r"(?i)default chat template is no longer allowed|chat template .{0,160}(?:doesn't|does not) exist|"
        r"chat template \(.{1,200}looks like a file path|"
        r"Cannot use chat template functions|no chat template|chat_template is not set|"
        r"does not have a chat template|ChatTemplateResolutionError",
        Reading(
            "model-unsupported",
            "the model has no chat template, or the one that is named cannot be read",
            "name a file with one (vLLM: chat-template), or use the completions API",
            f"{TRANSFORMERS} tokenization_utils_base.py; {VLLM} entrypoints/chat_utils.py",
        ),
    ),
)
