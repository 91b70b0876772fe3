"""A certificate for local TLS peers, made when a test asks for it."""

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for localhost, 127.0.0.1 and hooks.example."""

    certificate: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        """A context that trusts this certificate alone."""
        return ssl.create_default_context(cafile=str(self.certificate))


def make_certificate(folder: Path) -> Certificate:
    """Make it with openssl, or skip the test where there is none."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl in PATH to make a certificate; install the package openssl")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    request = "req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost,DNS:hooks.example,IP:127.0.0.1"
    subprocess.run(
        [openssl, *request.split(), "-addext", names, "-keyout", made.key, "-out", made.certificate],
        check=True,
        capture_output=True,
        timeout=20,
    )
    return made
