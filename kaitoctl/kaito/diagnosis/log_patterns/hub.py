"""What the Hugging Face hub answers when models are asked for, and why it cannot be asked."""

from __future__ import annotations

from kaitoctl.kaito.diagnosis.log_patterns.reading import HUB, TRANSFORMERS, VLLM, Reading, Row

_ACCESS = "accept the licence on huggingface.co and name a Secret with HF_TOKEN in modelAccessSecret"
_NETWORK = (
    "check the pod's DNS, network policies, proxy and firewall, or use a preset whose image has the weights"
)
_NO_SUCH_MODEL = Reading(
    "model-not-found",
    "the hub has no such model, or the token may not see it",
    "correct the model's name; a private one needs a Secret with HF_TOKEN in modelAccessSecret",
    f"{HUB} utils/_http.py, utils/_validators.py; {TRANSFORMERS} utils/hub.py",
)

PATTERNS: tuple[Row, ...] = (
    (
        r"(?i)\b429\b.{0,20}(?:Client Error|Too Many Requests)|Too Many Requests for url|"
        r"you have reached your .{1,40} rate limit|We had to rate limit|rate limit exceeded",
        Reading(
            "hub-rate-limited",
            "the hub limits the rate: too many requests (429) from this address, or with this token",
            "name a Secret with a token (HF_TOKEN) in modelAccessSecret: who is known may ask more often; "
            "then wait some minutes",
            f"{HUB} utils/_http.py",
        ),
    ),
    (
        r"DisabledRepoError|Access to this resource is disabled|"
        r"\b451 Client Error|Unavailable For Legal Reasons",
        Reading(
            "model-access-denied",
            "the hub has disabled the model's repository: no token helps",
            "ask its author, or take another model or a copy of your own",
            f"{HUB} utils/_http.py",
        ),
    ),
    (
        r"\b(?P<status>50[0234]) Server Error: .{0,80} for url: "
        r"https?://(?:[\w.-]{1,80}\.)?(?:huggingface\.co|hf\.co)",
        Reading(
            "hub-unreachable",
            "the hub answers with {status}: it is out of order, or what stands between",
            "wait, and see status.huggingface.co; a volume or image with the weights does without it",
            f"{HUB} utils/_http.py; requests 2.32 models.py",
        ),
    ),
    (
        # The hub itself has let the download begin: it signs these addresses.
        r"\b403\b.{0,120}https?://(?P<store>(?:cas-bridge|transfer)\.xethub\.hf\.co|"
        r"cdn-lfs[\w-]{0,20}\.(?:hf|huggingface)\.co|(?:[\w-]{1,20}\.){0,3}cdn\.hf\.co)",
        Reading(
            "hub-unreachable",
            "the hub allows the download, and where its files are ({store}) refuses it",
            "let the pod past the proxy or firewall to *.hf.co; a signed address may also have run out, "
            "which passes with the next start",
            f"{HUB} file_download.py; hf_xet 1.1",
        ),
    ),
    (
        r"CAS (?:client|service) error.{0,200}\b401\b",
        Reading(
            "hub-unreachable",
            "the hub allows the download, and its store of files does not take the token that it gave: "
            "hf-xet before 1.1.7 let it run out",
            "start the pod again; an image with a newer hf-xet, or HF_HUB_DISABLE_XET=1, does without",
            "hf_xet 1.1.7; huggingface/xet-core#404",
        ),
    ),
    (
        # Of other servers than the hub and its mirrors: training data, a configuration, a store of one's own.
        r"\b(?P<status>4\d\d) Client Error(?:: [\w ]{1,60})? for url:? "
        r"https?://(?!(?:[\w-]{1,40}\.){0,4}(?:huggingface\.co|hf\.co)\b)"
        r"(?!\S{1,300}/(?:resolve|api/models|api/datasets)/)(?P<host>[\w.-]{1,120})",
        Reading(
            "crash-loop",
            "{host} answers with {status} to what the server or job fetches there",
            "check the address in the Workspace (tuning.input.urls) or in its configuration, and whether the "
            "pod may read what is there",
            "requests 2.32 models.py",
        ),
    ),
    (
        r"(?i)Repository Not Found for url|RepositoryNotFoundError",  # 401 without a token, 404 with one
        _NO_SUCH_MODEL,
    ),
    (
        r"(?i)Invalid user token|Invalid credentials in Authorization|User Access Token .{0,60}expired",
        Reading(
            "model-access-denied",
            "the hub does not accept the pod's token: it is mistyped, has expired or was revoked",
            "create a token on huggingface.co, and put it into the Secret that modelAccessSecret names",
            f"{HUB} utils/_http.py",
        ),
    ),
    (
        r"(?i)fine-grained token settings|your token has the correct permissions",
        Reading(
            "model-access-denied",
            "the pod's token is valid, and has no permission for this model",
            "on huggingface.co, let the fine-grained token read public gated repositories, or take a token "
            "of kind read",
            f"{HUB} utils/_http.py",
        ),
    ),
    (
        r"(?i)awaiting a review from the repo",
        Reading(
            "model-access-denied",
            "access to the model has been asked for, and its owners have not granted it yet",
            "wait for their answer (huggingface.co: Settings, Gated Repositories), or take another model",
            f"{HUB} utils/_http.py",
        ),
    ),
    (
        r"(?i)\b40[13] Client Error|gated repo|Access to model .{1,160} is restricted|"
        r"CAS (?:client|service) error.{0,200}\b403\b|"
        r"You must (?:have access|be authenticated) to (?:it|access it)|awaiting a review from the repo|"
        r"LocalTokenNotFoundError|GatedRepoError|"
        r"\b40[13] (?:Unauthorized|Forbidden)\b.{0,80}hugging|Cannot access content at: https://huggingface|"
        r"Token is required .{0,60}but no token found",
        Reading(
            "model-access-denied",
            "the model's weights may not be downloaded with the token that the pod has",
            _ACCESS,
            f"{HUB} utils/_http.py; {TRANSFORMERS} utils/hub.py",
        ),
    ),
    (
        r"No such file or directory: ['\"](?P<file>/[^'\"\n]{1,200}/"
        r"(?:config|tokenizer\w{0,20}|generation_config|(?:pytorch_|consolidated|adapter_)?model[\w.-]{0,40}|"
        r"consolidated[\w.-]{0,20})\.(?:json|safetensors|model|bin|pth|gguf))['\"]",
        Reading(
            "model-files-broken",
            "the model's file {file} is missing",
            "check the volume that is mounted there, and whether the model was copied as a whole",
            "Python 3.12; " + TRANSFORMERS + " utils/hub.py",
        ),
    ),
    (
        r"(?:Repo id must .{1,160}: |Invalid repository ID or local directory specified: |"
        r"Incorrect path_or_model_id: )'(?P<path>/[^'\n]{1,200})'|"
        r"No supported config format found in (?P<folder>/[^\s']{1,200}?)\.?$",
        Reading(
            "model-files-broken",
            "there is no folder {path}{folder} with a model, nor can it be the name of one on the hub",
            "check the volume that is mounted there, and the path",
            f"{HUB} utils/_validators.py; {VLLM} transformers_utils/config.py; {TRANSFORMERS} utils/hub.py",
        ),
    ),
    (
        r"Entry Not Found for url|\b(?:Remote)?EntryNotFoundError",
        Reading(
            "model-files-broken",
            "the model's repository on the hub lacks a file that the server needs",
            "check that it has config.json, the tokenizer and all weights, in this revision",
            f"{HUB} utils/_http.py",
        ),
    ),
    (
        r"(?i)Revision Not Found for url|RevisionNotFoundError|is not a valid git identifier|"
        r"Invalid rev id",
        Reading(
            "model-not-found",
            "the hub has no such revision (branch, tag or commit) of the model",
            "correct the revision",
            f"{HUB} utils/_http.py; {TRANSFORMERS} utils/hub.py",
        ),
    ),
    (
        r"(?i)\b404 Client Error|Repository Not Found|not a valid model identifier|"
        r"Invalid repository ID or local directory|Repo id must|HFValidationError|"
        r"is not a local folder or a valid repository",
        _NO_SUCH_MODEL,
    ),
    (
        r"(?i)outgoing traffic has been disabled|offline mode is enabled|OfflineModeIsEnabled|"
        r"HF_HUB_OFFLINE=1",
        Reading(
            "hub-unreachable",
            "the server may not ask the hub (offline mode), and the model's files are not in its cache",
            "take HF_HUB_OFFLINE out of the pod's environment, or give the pod a volume with the files",
            f"{HUB} file_download.py, utils/_http.py",
        ),
    ),
    (
        # how a handshake ends that something between breaks off; not what a server says of its own key
        r"\[SSL: (?P<what>UNEXPECTED_EOF_WHILE_READING|EOF_OCCURRED|WRONG_VERSION_NUMBER|"
        r"\w{0,40}ALERT\w{0,40}|HTTPS?_(?:PROXY_)?REQUEST|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG|UNSUPPORTED_PROTOCOL|"
        r"NO_PROTOCOLS_AVAILABLE|DECRYPTION_FAILED\w{0,40})\]|"
        r"SSLZeroReturnError|EOF occurred in violation of protocol",
        Reading(
            "hub-unreachable",
            "the connection to the hub breaks while it is being secured {what}: a firewall or a proxy does "
            "not let it through, or does not speak TLS",
            "let the pod reach huggingface.co by HTTPS, and see HTTPS_PROXY and NO_PROXY (most proxies are "
            "themselves asked by http://)",
            "Python 3.12 ssl; OpenSSL 3 sslerr.h",
        ),
    ),
    (
        r"(?i)CERTIFICATE_VERIFY_FAILED|certificate verify failed|SSLCertVerificationError|SSLError\(|"
        r"suitable TLS CA certificate bundle",
        Reading(
            "hub-unreachable",
            "the hub's certificate is not trusted: something between breaks the connection open",
            "give the image the certificate of that proxy (SSL_CERT_FILE, REQUESTS_CA_BUNDLE)",
            "Python 3.12 ssl; requests 2.32",
        ),
    ),
    (
        r"InvalidProxyURL|Please check proxy URL|Unable to determine SOCKS version|"
        r"Missing dependencies for SOCKS|'socksio' package is not installed|Unknown scheme for proxy URL",
        Reading(
            "hub-unreachable",
            "the proxy that the pod's environment names cannot be used: its address is malformed, or of a "
            "kind (SOCKS) that the image does not know",
            "correct HTTPS_PROXY and ALL_PROXY (http://HOST:PORT), or take them out",
            "requests 2.32 adapters.py; httpx 0.28 _transports; urllib3 2.x contrib/socks.py",
        ),
    ),
    (
        r"(?i)ProxyError|Cannot connect to proxy|Tunnel connection failed|407 Proxy Authentication",
        Reading(
            "hub-unreachable",
            "the proxy does not let the container reach the hub",
            "see HTTPS_PROXY and NO_PROXY of the pod, and the proxy",
            "urllib3 2.x; httpx 0.28",
        ),
    ),
    (
        r"(?i)Temporary failure in name resolution|Name or service not known|NameResolutionError|"
        r"No address associated with hostname|getaddrinfo failed|Failed to resolve '|"
        r"nodename nor servname|dns error: failed to lookup",
        Reading(
            "hub-unreachable",
            "the container cannot resolve the name of the hub",
            _NETWORK,
            "glibc gai_strerror; urllib3 2.x; hf_xet",
            depth=1,
        ),
    ),
    (
        r"host='(?P<host>[\w.-]{1,120})', port=\d+\)",
        Reading(
            "hub-unreachable",
            "the container cannot reach {host}",
            _NETWORK,
            "urllib3 2.x connectionpool.py",
            depth=1,
        ),
    ),
    (
        r"IncompleteRead\(|ChunkedEncodingError|IncompleteMessage|peer closed connection without sending",
        Reading(
            "hub-unreachable",
            "a download ended before it was whole",
            "the next try may do better; if it does not, check the proxy, firewall and limits between the "
            "pod and the hub, or keep the weights on a volume or in the image",
            "urllib3 2.x response.py; httpx 0.28, h11 0.16; reqwest (hf_xet)",
            depth=1,
        ),
    ),
    (
        r"\b50[0234] Server Error.{0,160}(?:huggingface|hf\.co)|"
        r"Server error '50[0234].{0,160}(?:huggingface|hf\.co)|HTTP status server error \(5\d\d",
        Reading(
            "hub-unreachable",
            "the hub answers with an error of its own",
            "the next try may do better: see the hub's state (status.huggingface.co); or keep the weights on "
            "a volume or in the image",
            f"{HUB} utils/_http.py; httpx 0.28; reqwest (hf_xet)",
            depth=1,
        ),
    ),
    (
        r"(?i)couldn't connect to 'https?://|cannot find the requested files in the (?:local|disk) cache|"
        r"LocalEntryNotFoundError|connection error when trying to load|Distant resource does not|"
        r"does not seem to be on huggingface\.co|Check your internet connection|"
        r"cannot find the appropriate snapshot folder|CAS (?:client|service) error|"
        r"(?:huggingface\.co|hf\.co).{0,200}(?:timed out|refused|unreachable|reset by peer)|"
        r"(?:Connect|Read)Timeout\b|"
        r"Could not connect to the endpoint URL|httpx\.Connect(?:Error|Timeout)|httpcore\.Connect|"
        r"requests\.exceptions\.Connection|Connection aborted|RemoteDisconnected",
        Reading(
            "hub-unreachable",
            "the container cannot reach the hub, and the model's files are not in its cache",
            _NETWORK,
            f"{HUB} file_download.py, _snapshot_download.py; {TRANSFORMERS} utils/hub.py",
            depth=1,
        ),
    ),
)
