"""Which words of a log or message are secrets, and which only stand where one might."""

from __future__ import annotations

import pytest

from kaitoctl.kaito.secrecy import without_secrets


@pytest.mark.parametrize(
    "text",
    [
        # botocore 1.40, azure-identity 1.25, Vault 1.20: names of errors that end like a key.
        "InvalidIdentityToken: No OpenIDConnect provider found in your account for https://oidc.eks.example",
        "ExpiredToken: The provided token has expired.",
        "InvalidToken: malformed request",
        "failed to get secret: permission denied",
        "error reading password: access to /run/p denied",
        "Bad signature: digest mismatch",
        # transformers 5, vLLM 0.33: tokens of a vocabulary.
        "special token: '<|im_start|>' is not in the vocabulary",
        "pad token: 32000 is out of range",
        "eos_token=[PAD], pad_token=None",
        "token: limit of 4096 exceeded",
        "add_generation_token=True",
        "--docker-password=PASSWORD",
        "secret: <REDACTED>",
        "couldn't find key HF_TOKEN in Secret default/hf",
    ],
)
def test_words_that_no_secret_is_stay(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("token: abcdef", "abcdef"),
        ("Token: c29tZXRoaW5n is bad", "c29tZXRoaW5n"),
        ("SessionToken: FwoGZXIvYXdz and more", "FwoGZXIvYXdz"),
        ("SecretAccessKey: wJalrXUtnFEMI", "wJalrXUtnFEMI"),
        ("password: hunter for user app", "hunter"),
        ("password=12345", "12345"),
        ("passwd: 1234 is wrong", "1234"),
        ("client secret: correct horse", "correct"),
        ("api_key=abc", "abc"),
        ("token=word", "word"),
        ('"token": "plain"', "plain"),
        ("https://a.example/m?sv=2024&sig=abcDEF%2Bx%3D&se=1", "abcDEF"),
        ("https://me:pa55@h.example", "pa55"),
        ("Authorization: Bearer abc.def", "abc.def"),
        ("Invalid user token: hf_AbCdEfGhIjKlMnOp", "hf_AbCdEfGh"),
    ],
)
def test_a_secret_is_masked(text: str, secret: str) -> None:
    assert secret not in without_secrets(text)
    assert "***" in without_secrets(text)
