"""A certificate authority for the length of a test."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.clock import SystemClock


class Authority:
    """Signs for 127.0.0.1. ``trusted``: a certificate, as PEM text, that makes a client believe it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "for a test")])
        self.trusted = _pem(self._signed(self._key, self._name, SystemClock().now(), authority=True))

    def server(self, valid_until: datetime | None = None) -> ssl.SSLContext:
        """A context for a server; ``valid_until``: tomorrow unless given."""
        key, now = ec.generate_private_key(ec.SECP256R1()), SystemClock().now()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        certificate = self._signed(key, name, valid_until or now + timedelta(days=1))
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        file = self._folder / "server.pem"
        file.write_text(key.private_bytes(serialization.Encoding.PEM, form, plain).decode() + _pem(certificate))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _signed(
        self, key: ec.EllipticCurvePrivateKey, name: x509.Name, until: datetime, *, authority: bool = False
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(until + timedelta(days=1) if authority else until)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
