"""Places that a server cannot use: addresses to listen on, object stores, and names of the cluster's own."""

from __future__ import annotations

from kaitoctl.kaito.diagnosis.log_patterns.reading import TRANSFORMERS, Reading, Row

_CREDENTIALS = (
    "give the pod credentials: a ServiceAccount with workload identity (IRSA, EKS Pod Identity, GKE, Entra), "
    "or a "
    "Secret in the pod template's environment"
)
_HOST = r"(?:[\w-]{1,63}-\d{1,4}\.[\w-]{1,80}-headless[\w.-]{0,120}|[\w.-]{1,160}\.svc(?:\.[\w.-]{1,60})?)"
_NO_NAME = (
    r"(?:gaierror|Name or service not known|failure in name resolution|Failed to resolve|getaddrinfo|"
    r"hostname nor servname)"
)

PATTERNS: tuple[Row, ...] = (
    # --- addresses to listen on
    (
        r"bind on address \('?(?P<host>[^',]{1,60})'?, (?P<port>\d{1,5}).{0,20}: \[?(?:Errno 13\]? "
        r")?permission denied|"
        r"bind.{0,60}:(?P<low>\d{1,4})\b.{0,20}[Pp]ermission denied",
        Reading(
            "bad-arguments",
            "the server may not listen on port {port}{low}: those below 1024 are root's, and it runs as "
            "another user",
            "let it listen on a port from 1024 on, such as 5000 (the Service translates), or set "
            "net.ipv4.ip_unprivileged_port_start in the pod's securityContext.sysctls",
            "Python 3.12 asyncio/base_events.py; Linux net/ipv4/af_inet.c",
        ),
    ),
    (
        r"bind on address \('?(?P<host>[^',]{1,60})'?, (?P<port>\d{1,5}).{0,20}: .{0,20}[Cc]annot assign "
        r"requested address",
        Reading(
            "bad-arguments",
            "the address that the server is to listen on, {host}, is not one of the pod's",
            "let it listen on 0.0.0.0 (or ::), with no address of its own in the command",
            "Python 3.12 asyncio/base_events.py; glibc strerror EADDRNOTAVAIL",
        ),
    ),
    (
        r"\[Errno 99\] Cannot assign requested address",
        Reading(
            "bad-arguments",
            "the address that the server is to listen on is not one of the pod's",
            "let it listen on 0.0.0.0 (or ::), with no address of its own in the command",
            "glibc strerror EADDRNOTAVAIL",
        ),
    ),
    (
        r"VLLM_PORT '(?P<uri>[^'\n]{1,120})' appears to be a URI|"
        r"invalid literal for int\(\) with base 10: '(?P<link>tcp://[^'\n]{1,120})'",
        Reading(
            "bad-arguments",
            "a port is to be a number and is {uri}{link}: Kubernetes sets variables such as VLLM_PORT in "
            "every pod beside a Service, here one called vllm",
            "give that Service (or the Workspace of this name, which has one) another name, or set "
            "enableServiceLinks: false in the pod template",
            "vLLM 0.33.0 envs.py (get_vllm_port); Kubernetes v1.37.2 pkg/kubelet/envvars",
        ),
    ),
    (
        r"Address family not supported by protocol|\[Errno 97\]",
        Reading(
            "bad-arguments",
            "the server is to use IPv6 (or IPv4), and the pod has none",
            "let it listen on 0.0.0.0 where the cluster has IPv4 alone, on :: where it has IPv6",
            "glibc strerror EAFNOSUPPORT",
        ),
    ),
    # --- identities of clouds
    (
        r"AADSTS(?P<number>\d{5,7}): (?P<what>.{1,200}?)(?:\. |\.?$)",
        Reading(
            "model-access-denied",
            "Entra does not accept the pod's identity (AADSTS{number}): {what}",
            "compare the issuer, the subject (system:serviceaccount:NAMESPACE:NAME) and the audience of its "
            "federated credential with the pod's ServiceAccount, and check the client id and the tenant",
            "azure-identity 1.25; Entra error codes",
        ),
    ),
    (
        r"when calling the AssumeRole\w{0,20} operation: (?P<what>.{1,200}?)\.?$",
        Reading(
            "model-access-denied",
            "AWS does not accept the pod's identity: {what}",
            "check that the account has an OIDC provider of the cluster's issuer, and that the role's trust "
            "policy names the pod's ServiceAccount (system:serviceaccount:NAMESPACE:NAME)",
            "botocore 1.40 credentials.py; AWS STS",
        ),
    ),
    (
        r"(?P<what>(?:Permission )?'?iam\.serviceAccounts\.getAccessToken'? denied.{0,120}|"
        r"Unable to acquire impersonated credentials|invalid_target: .{1,120})",
        Reading(
            "model-access-denied",
            "Google does not accept the pod's identity: {what}",
            "bind the pod's ServiceAccount to the account that may read the bucket "
            "(roles/iam.workloadIdentityUser), and annotate it with that account",
            "google-auth 2.43 impersonated_credentials.py, identity_pool.py",
        ),
    ),
    (
        r"EndpointConnectionError: .{0,60}(?P<url>https?://[^\s\"']{1,160})",
        Reading(
            "hub-unreachable",
            "the container cannot reach the object store at {url}",
            "check the region and the address of the store, and the pod's DNS, network policies and proxy",
            "botocore 1.40 exceptions.py",
        ),
    ),
    (
        r"(?:Illegal|Invalid) header value b?['\"]Bearer |"
        r"return character\(s\) in header value: b?['\"]Bearer |"
        r"Newline(?: or carriage return)?.{0,40} detected in headers",
        Reading(
            "model-access-denied",
            "the token of the hub (HF_TOKEN) has a line break or another character that no header may have",
            "create its Secret again without it (printf rather than echo)",
            "h11 0.16; httpx 0.28; requests 2.32 utils.py; Python 3.12 http/client.py; aiohttp 3.13",
        ),
    ),
    # --- what streams or pulls a model
    (
        r"streamer.{0,60} due to: b?['\"](?P<what>Error loading object storage plugin|"
        r"(?:S3|GCS|Azure) not supported)",
        Reading(
            "image-broken",
            "the image cannot stream models from this object store: {what}",
            "use an image with the model streamer's library for it (runai-model-streamer[s3,gcs,azure])",
            "runai-model-streamer 0.15 cpp/common/response_code",
        ),
    ),
    (
        r"streamer.{0,60} due to: b?['\"](?P<what>[^'\"\n]{1,160})|"
        r"ValueError: (?P<file>(?:Corrupted (?:File|Header|Offset): |Streamer failed to read).{1,160})",
        Reading(
            "model-files-broken",
            "the model cannot be streamed: {what}{file}",
            "check the address of the model and what is there, and whether the pod's identity may read it",
            "runai-model-streamer 0.15 libstreamer.py, safetensors_streamer",
            depth=1,
        ),
    ),
    (
        r"(?:initializing source docker://(?P<image>[\w./:@-]{1,200}): .{0,200}|"
        r"\"(?P<url>https?://[^\s\"]{1,200})\": response status code 40[13]: .{0,40}?)"
        r"(?:unauthorized|denied|authentication required|requested access|access forbidden)",
        Reading(
            "model-access-denied",
            "the registry denies access to what the container pulls, {image}{url}",
            "give the container credentials for that registry: a pull secret that it mounts, or an identity",
            "oras 1.3; containers/image 5 docker; KAITO v0.12 puller.sh",
        ),
    ),
    (
        r"(?:initializing source docker://(?P<image>[\w./:@-]{1,200}): .{0,200}|"
        r"\"(?P<url>https?://[^\s\"]{1,200})\": response status code 404: .{0,120})"
        r"(?:manifest unknown|name unknown|not found)",
        Reading(
            "model-not-found",
            "the registry has nothing under the name that the container pulls, {image}{url}",
            "correct the name or the tag, or push it",
            "oras 1.3; containers/image 5 docker; KAITO v0.12 puller.sh",
        ),
    ),
    # --- object stores
    (
        r"NoCredentialsError|Unable to locate credentials|PartialCredentialsError|DefaultCredentialsError|"
        r"default credentials were not found|DefaultAzureCredential failed|CredentialUnavailableError|"
        r"ClientAuthenticationError|UnauthorizedSSOTokenError|NoAuthTokenError",
        Reading(
            "model-access-denied",
            "the server has no credentials for the object store that the model is in",
            _CREDENTIALS,
            "botocore 1.40 exceptions.py; google-auth 2.43; azure-identity 1.25",
        ),
    ),
    (
        r"An error occurred \((?P<what>403|AccessDenied\w{0,20}|InvalidAccessKeyId|SignatureDoesNotMatch|"
        r"ExpiredToken\w{0,10}|"
        r"InvalidToken|AllAccessDisabled|InvalidClientTokenId)\) when calling|"
        r"(?P<azure>AuthorizationPermissionMismatch|"
        r"AuthorizationFailure|AuthenticationFailed)\b|does not have storage\.(?P<gcs>[\w.]{1,40}) access",
        Reading(
            "model-access-denied",
            "the object store that the model is in denies access ({what}{azure}{gcs})",
            "give the pod's identity the rights to list and read the bucket, and renew keys that have "
            "expired",
            "botocore 1.40; azure-storage-blob 12; google-cloud-storage 3",
        ),
    ),
    (
        r"An error occurred \((?P<what>404|NoSuchBucket|NoSuchKey|PermanentRedirect)\) when calling|"
        r"(?P<azure>ContainerNotFound|BlobNotFound)\b|The specified (?:bucket|blob|container|"
        r"key) does not exist",
        Reading(
            "model-not-found",
            "the object store has no such bucket, or nothing under this path ({what}{azure})",
            "correct the address of the model (bucket, path, region)",
            "botocore 1.40; azure-storage-blob 12",
        ),
    ),
    (
        r"(?:error downloading or loading|failed to download or load) vocab file",
        Reading(
            "hub-unreachable",
            "the container cannot download the vocabulary of gpt-oss",
            "let it reach openaipublic.blob.core.windows.net, or name a folder with the files in "
            "TIKTOKEN_ENCODINGS_BASE",
            "openai-harmony 0.0.8 tiktoken_ext",
        ),
    ),
    # --- names of the cluster's own
    (
        rf"{_NO_NAME}.{{0,120}}?\b(?P<host>{_HOST})|\b(?P<name>{_HOST}).{{0,80}}{_NO_NAME}",
        Reading(
            "gpus-disconnected",
            "the name of another pod of the server, {host}{name}, cannot be resolved",
            "check that the headless Service and that pod are there, and the cluster's DNS (CoreDNS)",
            "glibc gai_strerror; Python 3.12 socket",
        ),
    ),
    # --- templates
    (
        r"jinja2\.exceptions\.(?P<what>Template\w{1,30}|UndefinedError): (?P<said>.{1,120})",
        Reading(
            "model-unsupported",
            "the chat template cannot be used: {said}",
            "correct the file that chat-template names, or use the template that comes with the model",
            f"Jinja 3.1; {TRANSFORMERS} utils/chat_template_utils.py",
            depth=1,
        ),
    ),
)
