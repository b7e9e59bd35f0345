"""What the user says about the webhook: where it answers, and where its certificate comes from."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from kaitoctl.errors import InputError


class Certificates(Struct, frozen=True):
    """Where the certificate comes from.

    Args:
        folder: with tls.crt and tls.key, which somebody else renews; None to make one.
        secret: `NAMESPACE/NAME` of the Secret to keep it in.
        configuration: the ValidatingWebhookConfiguration that is to trust it.
        hosts: by which the API server calls the webhook; empty for the Service of the Secret's name.
        prefix: what the options that say so begin with.
        manifest: the file of `deploy/` that has the configuration.
    """

    folder: str | None
    secret: str
    configuration: str
    hosts: tuple[str, ...] = ()
    prefix: str = "--"
    manifest: str = "deploy/webhook.yaml"


class WebhookOptions(Struct, frozen=True):
    """The options of `run-controller` that are the webhook's.

    Args:
        webhook: whether there is one.
        webhook_address: where the API server asks.
        webhook_cert_dir: as `Certificates.folder`, and so on.
    """

    webhook: bool = False
    webhook_address: str = ":9443"
    webhook_cert_dir: str | None = None
    webhook_secret: str = "kaitoctl-system/kaitoctl-webhook"  # noqa: S105 - where it is, not what it says
    webhook_configuration: str = "kaitoctl-webhook"
    webhook_host: Sequence[str] | None = None

    def insist(self) -> None:
        """Refuse options of a webhook that is not wanted.

        Raises:
            InputError: there are some.
        """
        usual = WebhookOptions()
        given = [name for name in usual.__struct_fields__ if getattr(self, name) != getattr(usual, name)]
        if given and not self.webhook:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise InputError(f"{options}: there is no webhook without --webhook")

    @property
    def certificates(self) -> Certificates:
        """Where its certificate comes from."""
        hosts = tuple(self.webhook_host or ())
        return Certificates(
            self.webhook_cert_dir,
            self.webhook_secret,
            self.webhook_configuration,
            hosts,
            prefix="--webhook-",
            manifest="deploy/controller-webhook.yaml",
        )
