"""How the server was called, what its image lacks, and how its workers end."""

from __future__ import annotations

from kaitoctl.kaito.diagnosis.log_patterns.reading import (
    NCCL,
    RAY,
    TORCH,
    TRANSFORMERS,
    VLLM,
    WHERE,
    Reading,
    Row,
)

_IMAGE = "use another image, or rebuild it with packages that fit each other"

PATTERNS: tuple[Row, ...] = (
    # --- how the server was called
    (
        r"unrecognized arguments: (?P<what>.{1,200})",
        Reading(
            "bad-arguments",
            "the server does not know the arguments {what}",
            "correct the command, or the keys under vllm: in inference_config.yaml; an older server knows "
            "fewer",
            "Python 3.12 argparse.py",
        ),
    ),
    (
        r"error: (?P<what>(?:argument |the following arguments are required: |ambiguous option: )\S.{0,200})",
        Reading(
            "bad-arguments",
            "the server was called wrongly: {what}",
            "correct the command, or the keys under vllm: in inference_config.yaml",
            "Python 3.12 argparse.py",
        ),
    ),
    (
        r"(?P<what>`?max_num_batched_tokens`? \(\d+\) is smaller than `?max_model_len`? \(\d+\))",
        Reading(
            "bad-arguments",
            "{what}",
            "raise max-num-batched-tokens, lower max-model-len, or enable chunked prefill (" + WHERE + ")",
            f"{VLLM} config/scheduler.py",
        ),
    ),
    (
        r"(?i)yaml\.(?:scanner|parser|reader|constructor)\.\w{1,20}Error|Error: No such option",
        Reading(
            "bad-arguments",
            "the server's configuration cannot be read",
            "correct inference_config.yaml, or the command",
            "PyYAML 6; click 8",
            depth=1,
        ),
    ),
    (
        r"(?i)Address already in use|EADDRINUSE|failed to listen on any local network address",
        Reading(
            "port-in-use",
            "the port that the server wants is taken",
            "check what else listens in the pod (host network, a second server), or choose another port",
            "glibc strerror EADDRINUSE; PyTorch TCPStore.cpp",
        ),
    ),
    (
        r"invalid (?P<kind>tool call|reasoning|tool|"
        r"chat) ?parser: (?P<what>[^\s(]{1,60}) \(chose from \{ ?(?P<from>[^}]"
        r"{1,300}?) ?\}",
        Reading(
            "bad-arguments",
            "this vLLM has no {kind} parser {what}",
            "name one of those that it has: {from}; or use an image with a newer vLLM",
            f"{VLLM} tool_parsers/abstract_tool_parser.py, entrypoints/openai/api_server.py",
        ),
    ),
    (
        r"Input should be (?P<takes>.{1,160}?) \[type=\w{1,40}, input_value=(?P<has>.{1,60}?), input_type=",
        Reading(
            "bad-arguments",
            "an option of the server has the value {has}, and should be {takes}",
            "correct it (" + WHERE + "); the line above it in the log names the option",
            f"pydantic 2.12; {VLLM} config",
            depth=1,
        ),
    ),
    (
        r"(?:Unexpected keyword argument|"
        r"Extra inputs are not permitted) \[type=\w{1,40}, input_value=(?P<has>.{1,60}?),",
        Reading(
            "bad-arguments",
            "an option of the server is none that this version knows (its value is {has})",
            "correct it (" + WHERE + "); the line above it in the log names the option",
            f"pydantic 2.12; {VLLM} config",
            depth=1,
        ),
    ),
    # --- programs that do not fit each other
    (
        r"Cannot re-initialize CUDA in forked subprocess",
        Reading(
            "bad-arguments",
            "the server starts its workers by fork after it has used the GPU",
            "set VLLM_WORKER_MULTIPROC_METHOD=spawn in the pod template's environment",
            f"{TORCH} torch/cuda/__init__.py; {VLLM} envs.py",
        ),
    ),
    (
        r"getpwuid\(\): uid not found: (?P<uid>\d{1,10})",
        Reading(
            "path-not-writable",
            "the image has no user {uid}, as which the pod runs, and so no home for its caches",
            "run it as a user of the image (runAsUser), or set HOME, USER and TORCHINDUCTOR_CACHE_DIR",
            f"Python 3.12 pwd; {TORCH} torch/_inductor/runtime/cache_dir_utils.py",
        ),
    ),
    (
        r"No username set in the environment",
        Reading(
            "path-not-writable",
            "the image has no user with the id as which the pod runs, and so no home for its caches",
            "run it as a user of the image (runAsUser), or set HOME, USER and TORCHINDUCTOR_CACHE_DIR",
            f"Python 3.13 getpass.py; {TORCH} torch/_inductor/runtime/cache_dir_utils.py",
        ),
    ),
    (
        r"cannot cache function .{1,80}: no locator available for file",
        Reading(
            "path-not-writable",
            "the image's numba may not write its cache beside the program, nor in the user's home",
            "set NUMBA_CACHE_DIR in the pod template's environment to a folder that is writable, such as "
            "/tmp/numba",
            "numba 0.62 core/caching.py",
        ),
    ),
    (
        r"users to upgrade torch to at least v(?P<needs>[\d.]{1,8})(?<!\.)",
        Reading(
            "image-broken",
            "the weights are of PyTorch's old format (.bin), which transformers reads with PyTorch {needs} "
            "or later alone, and the image's is older",
            "use the model's weights in safetensors (its repository may have them in another revision), or "
            "an image with newer PyTorch",
            f"{TRANSFORMERS} utils/import_utils.py (check_torch_load_is_safe)",
        ),
    ),
    (
        # not PEFT's, nor vLLM's own: those are of an adapter, or no fault of the model
        r"AttributeError: '(?P<kind>(?!Lora|Peft|KVCache|Vllm|Model|Cache|Parallel|Scheduler|Load)"
        r"\w{0,60}(?:Config|Cache))' object has no attribute '(?P<what>\w{1,60})'",
        Reading(
            "model-unsupported",
            "the model and the image's packages are of different versions: {kind} has no {what}",
            "use an image whose vLLM and transformers are those that the model was made for (newer, or older "
            "where the model brings program code of its own), or another revision of the model",
            f"Python 3.12; {TRANSFORMERS} configuration_utils.py, cache_utils.py",
            depth=1,
        ),
    ),
    (
        r"Failed to find C compiler|Command '\[?'?\S{0,80}\b(?:gcc|cc|clang|g\+\+|nvcc|ninja)'?.{1,600}"
        r"returned non-zero|cannot find -l(?:cuda|cudart|stdc\+\+)\b|"
        r"fatal error: Python\.h: No such file|Could not find nvcc|"
        r"No such file or directory: '(?:\S{0,80}/)?(?:ninja|nvcc|gcc|g\+\+|cc|c\+\+|clang)'|"
        r"nvcc: not found|Ninja is required to load",
        Reading(
            "image-broken",
            "the image lacks what the server compiles programs for the GPU with (a C compiler, Python's "
            "headers, or CUDA's nvcc)",
            "use an image that has them (gcc, python3-dev, the CUDA toolkit), or set enforce-eager: true ("
            + WHERE
            + ")",
            f"Triton 3.5 python/triton/runtime/build.py; flashinfer 0.5 jit; {TORCH} utils/cpp_extension.py",
        ),
    ),
    (
        r"Ninja build failed|ninja: build stopped|Error building extension '|PTXASError|PTX codegen error",
        Reading(
            "image-broken",
            "a program for the GPU could not be compiled",
            "check the lines with FAILED and error: in the log; another image, or another attention backend "
            "(VLLM_ATTENTION_BACKEND), compiles others",
            f"flashinfer 0.5 jit/cpp_ext.py; {TORCH} utils/cpp_extension.py",
            depth=1,
        ),
    ),
    (
        r"No matching distribution found for (?P<what>[^\s,]{1,100})|"
        r"E: (?:Failed to fetch (?P<url>\S{1,200})|Unable to locate package (?P<deb>\S{1,100}))",
        Reading(
            "image-broken",
            "the container installs {what}{url}{deb} when it starts, and cannot have it",
            "check whether the pod reaches that server (DNS, firewall, proxy, PIP_INDEX_URL), or use "
            "an image that has it",
            "pip 25 _internal/resolution; apt 3 methods; KAITO v0.12 fetch_sas.py, cuda-provision.sh",
            depth=1,
        ),
    ),
    (
        r"No module named '(?P<what>[^'\n]{1,100})'",
        Reading(
            "image-broken",
            "the image lacks the Python module {what}",
            _IMAGE,
            "Python 3.12 importlib",
            depth=1,
        ),
    ),
    (
        r"python[\d.]{0,6}: No module named (?P<what>[\w.]{1,60})",
        Reading(
            "image-broken",
            "the image lacks the Python module {what}",
            _IMAGE,
            "Python 3.12 runpy",
            depth=1,
        ),
    ),
    (
        r"can't open file '(?P<what>/[^'\n]{1,200})': \[Errno 2\]",
        Reading(
            "image-broken",
            "the image lacks the program {what}",
            "correct the command of the pod template, or use an image that has it",
            "Python 3.12 Modules/main.c",
            depth=1,
        ),
    ),
    (
        r"sh: (?:line )?(?:\d{1,4}: )?(?:exec: )?(?P<what>[\w./-]{1,80}): (?:command )?not found$",
        Reading(
            "image-broken",
            "the image lacks the program {what}",
            "correct the command of the pod template, or use an image that has it",
            "bash 5.2 execute_cmd.c; dash 0.5 exec.c; busybox ash",
            depth=1,
        ),
    ),
    (
        r"but '(?P<name>hf_transfer|hf_xet)' package is not available|"
        r"requires the (?P<what>\S{1,40}) library but it was not found in your environment|"
        r"packages that were not found in your environment: (?P<these>[\w, .-]{1,80}?)\.? Run|"
        r"`(?P<lib>sentencepiece|tiktoken|protobuf|timm|einops|flash_attn|mamba_ssm|causal_conv1d|"
        r"mistral_common)`? (?:is|are) (?:required|not installed|missing)",
        Reading(
            "image-broken",
            "the image lacks {what}{these}{name}{lib}, which the server needs for it",
            "use an image that has it, or build one",
            f"{TRANSFORMERS} utils/import_utils.py, dynamic_module_utils.py",
        ),
    ),
    (
        r"(?i)\boperator \S{1,60}::\S{1,60} does not exist|"
        r"AttributeError: (?:module '\S{1,80}'|'?\w{0,60}Tokenizer\w{0,20}'?(?: object)?) has no attribute|"
        r"RuntimeError: Numpy is not available|"
        r"ImportError: |undefined symbol: |version `GLIBC\S{1,24} not found|"
        r"cannot open shared object file|Failed to load shared library|numpy\.dtype size changed|"
        r"Illegal instruction|"
        r"packages that were not found in your environment|compiled using NumPy 1\.x cannot be run",
        Reading(
            "image-broken",
            "the image's programs and libraries do not fit each other",
            _IMAGE,
            "Python 3.12 importlib; glibc dl-load.c",
            depth=1,
        ),
    ),
    # --- limits of the container and of the node
    (
        r"Too many open files|\bEMFILE\b|\bENFILE\b|os error 24\b",
        Reading(
            "process-limit",
            "the server may not open as many files as it wants",
            "raise the limit of open files (LimitNOFILE of the node's container runtime, or ulimit -n in the "
            "command of the pod template)",
            "glibc strerror EMFILE, ENFILE",
        ),
    ),
    (
        r"can't start new thread|pthread_create failed|failed to create new OS thread|Thread creation failed|"
        r"Resource temporarily unavailable.{0,40}(?:thread|fork)|"
        r"(?:thread|fork|clone|process).{0,60}Resource temporarily unavailable|"
        r"BlockingIOError: \[Errno 11\]|vfork: .{0,40}unavailable",
        Reading(
            "process-limit",
            "the server may not start as many threads or processes as it wants",
            "set OMP_NUM_THREADS (and OPENBLAS_NUM_THREADS) to the CPUs of the pod, or raise the limit "
            "(podPidsLimit of the node's kubelet)",
            "Python 3.12 Modules/_threadmodule.c; OpenBLAS 0.3 blas_server.c; Go 1.25 runtime; glibc EAGAIN",
        ),
    ),
    # --- what the end of a worker looks like
    (
        r"(?i)exit ?code ?[:=]? ?-9\b|Failed core proc\(s\): .{0,80}: ?-9\b|Signal 9 "
        r"\(SIGKILL\)|received signal: ?9\b|signal 9\b|"
        r"terminated by signal:? ?(?:Killed|9\b)|process pool was terminated abruptly|"
        r"\bSIGKILL\b|^(?:/\S{1,60}: line \d+: +\d+ )?Killed\b",
        Reading(
            "worker-died",
            "a worker process of the server was killed (signal 9), most likely by the kernel: out of memory",
            "take a node with more memory, or raise the limit; the kernel's log on the node tells for "
            "certain",
            f"{VLLM} v1/executor/multiproc_executor.py; PyTorch torch/distributed/elastic; Linux oom_kill",
            depth=1,
        ),
    ),
    (
        r"(?i)Timed out waiting for (?:(?:new )?engine core processes to start|"
        r"engines to send initial message)",
        Reading(
            "slow-start",
            "loading takes longer than vLLM waits for its engine (VLLM_ENGINE_READY_TIMEOUT_S)",
            "raise VLLM_ENGINE_READY_TIMEOUT_S in the pod template, or use faster disks",
            f"{VLLM} v1/engine/core_client.py",
            depth=1,
        ),
    ),
    (
        r"Did not receive response from front-end process within (?P<time>\d+ minutes)",
        Reading(
            "gpus-disconnected",
            "an engine of the server waited for its API server for {time}, in vain: that had ended, or does "
            "not reach it",
            "check the lines above it in the log, and the first pod's log where there are several: what "
            "ended first says why; that time cannot be set",
            f"{VLLM} v1/engine/core.py (HANDSHAKE_TIMEOUT_MINS)",
            depth=2,
        ),
    ),
    (
        r"RPC call to (?P<call>\w{1,60}) timed out",
        Reading(
            "worker-died",
            "a worker of the server has not answered {call} in time: it hangs, or computes for too long",
            "if it comes back, check the GPUs (Xid errors in the kernel log) and, with several, whether they "
            "reach each other (NCCL_P2P_DISABLE=1 or disable-custom-all-reduce tell); a long compilation or "
            "very long prompts need VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS in the pod template",
            f"{VLLM} v1/executor/multiproc_executor.py, envs.py",
            depth=1,
        ),
    ),
    (
        r"Version mismatch: The cluster was started with",
        Reading(
            "gpus-disconnected",
            "the pods run images with different Ray or Python",
            "let all pods of the Workspace have one image: name it by a tag that does not move, and recreate "
            "the pods that have an older one",
            f"{RAY} python/ray/_private/utils.py",
        ),
    ),
    (
        r"(?i)no socket interface found|Bootstrap ?: no socket",
        Reading(
            "gpus-disconnected",
            "the parts of the server find no network interface by which to reach each other",
            "set NCCL_SOCKET_IFNAME to an interface that the pod has (eth0)",
            f"{NCCL} src/bootstrap.cc",
            depth=1,
        ),
    ),
    (
        r"(?i)RayActorError|ActorDiedError|ActorUnavailableError|The actor (?:is dead|died)|NodeDiedError|"
        r"WorkerCrashedError|raylet.{0,60}(?:died|dead|failed)|"
        r"node .{1,80} was marked dead|LocalRayletDiedError",
        Reading(
            "worker-died",
            "a worker of the server's Ray cluster died, or the node that it ran on",
            "check the other pods of the Workspace, and their nodes",
            f"{RAY} python/ray/exceptions.py",
            depth=2,
        ),
    ),
    (
        r"Could not find any running Ray instance|Failed to connect to GCS|GCS may have been killed",
        Reading(
            "gpus-disconnected",
            "the parts of the server do not reach each other: this one does not find Ray's head, which the "
            "first pod runs",
            "check whether the first pod of the Workspace runs, and whether the others can resolve its name",
            f"{RAY} python/ray/_private/worker.py, src/ray/gcs_rpc_client/rpc_client.h",
            depth=2,
        ),
    ),
    (
        r"(?i)ncclUnhandledCudaError|unhandled cuda error",
        Reading(
            "gpu-program-failed",
            "a CUDA call of NCCL failed on this node",
            "see what stands behind `Last error:`; check the memory that is left on its GPUs, and its driver",
            f"{NCCL} src/include/checks.h",
            depth=1,
        ),
    ),
    (
        r"(?i)\bNCCL error\b|nccl(?:System|Remote|Internal|InvalidUsage)\w{0,8}Error|"
        r"ncclInvalidUsage|unhandled system error|DistBackendError|DistNetworkError|DistStoreError|"
        r"Watchdog caught collective operation timeout|client socket has timed out|"
        r"Gloo connectFullMesh failed|Connection closed by (?:remote )?peer|"
        r"NCCL WARN .{0,80}(?:socketStartConnect|Connect to .{1,60} failed|NET/IB : Got (?:completion|async)|"
        r"Call to (?:connect|recv|send|ibv_\w{1,30})\b.{0,60}failed|Net : Connection closed)|"
        r"Timed out after \d+ seconds waiting for clients",
        Reading(
            "gpus-disconnected",
            "the parts of the server do not reach each other: communication between its GPUs fails",
            "check the other pods and nodes of the Workspace, the network between them, and the log with "
            "NCCL_DEBUG=INFO",
            f"{NCCL} src/init.cc; {TORCH} torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp",
            depth=2,
        ),
    ),
    (
        r"Failed core proc\(s\): .{0,80}: ?-(?P<signal>\d{1,2})\b",
        Reading(
            "worker-died",
            "the server's engine process was ended by signal {signal} (11: it crashed, 6: it aborted)",
            "check the lines above it in the log, and the GPU's state on the node; try another version "
            "of the image",
            f"{VLLM} v1/engine/utils.py",
            depth=2,
        ),
    ),
    (
        r"(?i)Worker proc \S{1,60} died unexpectedly|Engine ?(?:core )?proc\w{0,6} .{0,40}died|"
        r"One of the worker processes died|worker process .{0,40}(?:died|exited) unexpectedly",
        Reading(
            "worker-died",
            "a worker process of the server died",
            "check the lines above it in the log; without any, it was killed from outside: main memory is "
            "the usual reason",
            f"{VLLM} v1/executor/multiproc_executor.py, v1/engine/core_client.py",
            depth=2,
        ),
    ),
)
