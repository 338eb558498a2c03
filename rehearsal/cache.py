"""The cache that a stack keeps its OAuth state in: a real server with TLS and a password, where the stack names one or
makes one.

Containers find it under the very host name of the stack, on the Docker bridge. One that the stack makes has the users
that the emulated account has, with their passwords and rights; those of several services are one server. Its
certificate is of the authority that the stand-in for Google has, which containers trust already. The server is Debian's
Redis, unpacked and not installed; Valkey, which Debian 12 has not got, came of it and speaks the same.

Goes when the emulated account runs caches under their own names, without images from a registry.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.settings import Service, ValkeyState
from components.settings.server import PASSWORD
from rehearsal.emulator_process.elasticache import ADMINISTRATOR, ENDPOINT, PORT
from rehearsal.estate import SECRET_VALUE

_PACKAGES = "redis-server redis-tools libatomic1 libhiredis0.14 libjemalloc2 liblua5.1-0 liblzf1 lua-bitop lua-cjson"
_START_LIMIT = 20.0  # seconds


class NoCache(Exception):
    """No cache could be started; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A cache that has to be there."""

    hosts: tuple[str, ...]
    """Its names."""
    port: int
    tls: bool
    databases: int
    password: str | None = None
    """Of everybody; None: none is asked for. One that is made has users instead."""
    made: bool = False
    """Whether the stack makes it."""


def wanted(services: Iterable[Service]) -> list[Wanted]:
    """The caches in which the services keep their state: those that exist, and one for all that the stack makes."""
    found: dict[tuple[str, int], Wanted] = {}
    made: list[str] = []
    for service in services:
        if not isinstance(state := service.oauth_state, ValkeyState):
            continue
        if state.host is None:
            made.append(ENDPOINT.format(group=service.oauth_store))
            continue
        secret = service.secrets.get(PASSWORD)
        found.setdefault(
            (state.host, state.port),
            Wanted(
                hosts=(state.host,),
                port=state.port,
                tls=state.tls,
                databases=state.database + 1,
                password=SECRET_VALUE.format(key=secret.key) if secret else None,
            ),
        )
    ours = [Wanted(hosts=tuple(made), port=PORT, tls=True, databases=1, made=True)] if made else []
    return [*found.values(), *ours]


@dataclass(frozen=True, kw_only=True)
class Cache:
    """A running cache. Plain data, so that a kept rehearsal can note it."""

    host: str
    """The name that the stack has for it; the first, if it has several."""
    address: str
    """Where it is: `address:port`."""
    home: str
    pid: int

    @property
    def noted(self) -> dict[str, Any]:
        """Plain JSON, from which `Cache(**noted)` is found again."""
        return asdict(self)

    def stop(self) -> None:
        """End it and remove its files. Safe when it is gone already."""
        # The pid may be another program's by now, so it must still listen where ours did.
        try:
            arguments = Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            arguments = b""
        if b"redis-server" in arguments and self.address.encode() in arguments:
            os.kill(self.pid, signal.SIGTERM)
        shutil.rmtree(self.home, ignore_errors=True)


def start(wanted: Wanted, *, root: Path, address: str, authority: Path, control: Path) -> Cache:
    """Start a cache. Raises `NoCache`.

    root: the project's folder, for what is unpacked once. address: the Docker bridge's. authority: file with the key
    and certificate of the authority that containers trust. control: folder in which the emulated account finds how to
    tell one that the stack makes who may do what.
    """
    folder = _unpacked(root / ".rehearsal" / "redis")
    home = Path(tempfile.mkdtemp(prefix="rehearsal-cache-"))
    lines = [f"bind {address}", f"dir {home}", 'save ""', "appendonly no", f"databases {wanted.databases}"]
    if wanted.tls:
        certificate(home, wanted.hosts, authority)
        lines += [
            "port 0",
            f"tls-port {wanted.port}",
            "tls-auth-clients no",
            f"tls-ca-cert-file {home}/certificate.pem",
        ]
        lines += [f"tls-cert-file {home}/certificate.pem", f"tls-key-file {home}/key.pem"]
    else:
        lines.append(f"port {wanted.port}")
    if wanted.made:
        password = secrets.token_hex()
        (control / "password").touch(mode=0o600)
        (control / "password").write_text(password)
        lines += [f"unixsocket {control}/socket", "unixsocketperm 700", "user default off"]
        lines.append(f"user {ADMINISTRATOR} on >{password} ~* &* +@all")
    else:
        lines.append(f'requirepass "{wanted.password}"' if wanted.password else "protected-mode no")
    log = home / "log"
    library = next(folder.glob("usr/lib/*/liblzf.so.1")).parent
    with log.open("wb") as out:
        # By its standard input, so that no password stands among its arguments.
        process = subprocess.Popen(
            [folder / "usr" / "bin" / "redis-server", "-"],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env={"LD_LIBRARY_PATH": str(library)},
            start_new_session=True,
        )
    assert process.stdin
    process.stdin.write("\n".join(lines).encode())
    process.stdin.close()
    deadline = time.monotonic() + _START_LIMIT
    while True:
        try:
            socket.create_connection((address, wanted.port), timeout=1).close()
        except OSError:
            if process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
                continue
        if process.poll() is not None or time.monotonic() > deadline:
            told = log.read_text(errors="replace").strip()[-1000:]
            raise NoCache(
                f"no cache listens on {address}:{wanted.port} for {wanted.hosts[0]}:\n{told}\n"
                "If another rehearsal has that port, end it, or wait for it."
            )
        return Cache(host=wanted.hosts[0], address=f"{address}:{wanted.port}", home=str(home), pid=process.pid)


def _unpacked(folder: Path) -> Path:
    """The server's files, fetched once; all of them, or there is no folder."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="redis-", dir=folder.parent) as home:
            new = Path(home) / "new"
            # Without root the lists are as somebody left them.
            command = (
                f"apt-get update --quiet; apt-get download --quiet {_PACKAGES} && "
                f"for package in *.deb; do dpkg --extract $package {new} || exit 1; done"
            )
            done = subprocess.run(["sh", "-c", command], cwd=home, capture_output=True, text=True)
            if done.returncode:
                raise NoCache(
                    f"no cache can be had, which takes Debian's apt: {done.stderr.strip()[-300:]}\n"
                    "Rehearse with oauth.state: dynamodb, or on a Debian machine."
                )
            # Where another run was faster, its files are as good.
            with contextlib.suppress(OSError):
                new.rename(folder)
    return folder


def certificate(home: Path, hosts: Sequence[str], authority: Path) -> None:
    """A key and a certificate for the hosts, signed by the authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    text = authority.read_bytes()
    issuer, signer = x509.load_pem_x509_certificate(text), serialization.load_pem_private_key(text, None)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hosts[0][:64])]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    )
    (home / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = home / "key.pem"
    secret.touch(mode=0o600)
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
