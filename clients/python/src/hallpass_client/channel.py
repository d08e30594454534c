"""How hallpass is reached: over TLS, or without it from this machine alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import grpc

#: A file, or its content.
Pem = bytes | str | PathLike[str]
#: The key or token by which hallpass knows you, or what gives it for each call.
CallerToken = str | Callable[[], str]

_OPTIONS = [
    # Batches answer with up to 10,000 reasons and denials.
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    # A service that comes back is found again within the deadline of a call.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # A machine that went away without a word is noticed.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Retrying is done here, within the deadline.
    ("grpc.enable_retries", 0),
]


def channel_options(tls: TLS | bool) -> list[tuple[str, int]]:
    """The options of a channel. A proxy that the environment names sees nothing but TLS."""
    return [*_OPTIONS, ("grpc.enable_http_proxy", int(bool(tls)))]


@dataclass(frozen=True)
class TLS:
    """`ca`: who may sign the service's certificate, in place of the roots that grpc knows. `cert` and `key`: your own
    certificate with what it takes to verify it, and its private key (mTLS). Files in PEM, or their content."""

    ca: Pem | None = None
    cert: Pem | None = None
    key: Pem | None = field(default=None, repr=False)


def channel_credentials(
    target: str, tls: TLS | bool, caller_token: CallerToken | None, *, plaintext: bool
) -> grpc.ChannelCredentials | None:
    """The credentials of a channel; `None` for plain text to anywhere. Raises `ValueError` for what would send tokens
    in the open."""
    if plaintext:
        if tls or caller_token:
            raise ValueError("plaintext goes with neither tls nor a caller's token")
        return None
    if tls:
        files = tls if isinstance(tls, TLS) else TLS()
        if (files.cert is None) != (files.key is None):
            raise ValueError("a certificate and its key go together")
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_read(files.ca), private_key=_read(files.key), certificate_chain=_read(files.cert)
        )
    else:
        # gRPC looks at the connection, and refuses one that leaves this machine.
        is_socket = target.startswith(("unix:", "unix-abstract:"))
        kind = grpc.LocalConnectionType.UDS if is_socket else grpc.LocalConnectionType.LOCAL_TCP
        credentials = grpc.local_channel_credentials(kind)
    if caller_token is None:
        return credentials
    return grpc.composite_channel_credentials(credentials, grpc.metadata_call_credentials(_Bearer(caller_token)))


class _Bearer(grpc.AuthMetadataPlugin):  # type: ignore[misc, unused-ignore]
    """Shows the caller's token with each call."""

    def __init__(self, token: CallerToken) -> None:
        self._token = token

    def __call__(self, context: object, callback: grpc.AuthMetadataPluginCallback) -> None:
        try:
            token = self._token if isinstance(self._token, str) else self._token()
            callback((("authorization", f"Bearer {token}"),), None)
        except Exception as error:  # the call fails with UNAVAILABLE, and says that its metadata could not be had
            callback((), error)


def _read(pem: Pem | None) -> bytes | None:
    return pem if pem is None or isinstance(pem, bytes) else Path(pem).read_bytes()
