"""A stand-in for Google: the server's requests for Google's names end there, and no others leave the container.

The server's libraries have Google's addresses built in, but honour proxy variables and a test authority's certificate;
so the image that is rehearsed is the production image. What its containers are given on top is in `Google.container`;
the program and the stack know nothing of it.

Stays: nobody is to be asked to sign in, and nothing of a rehearsal is to reach Google.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from machine.environments import installed
from rehearsal.emulator import free_port

# mitmproxy pins most of what it needs, so it cannot share an environment with this program. 12 needs Python 3.12.
REQUIREMENTS = ("mitmproxy==11.0.2", "PyJWT==2.15.1", "PySocks==1.7.1")
START_TIMEOUT = 30.0  # seconds
IN_CONTAINER = "/run/rehearsal-authority.pem"
"""Where containers find the authority's certificate, among those of all others: as many as on AWS, which takes time."""
SYSTEM_IN_CONTAINER = "/usr/lib/ssl/cert.pem"
"""Where Debian's OpenSSL looks for authorities: the server fetches clients' documents by no variable's authority."""
SOCKS_IN_CONTAINER = "/opt/site/socks.py"
"""Where containers find PySocks: in the folder that the image's PYTHONPATH names, which must stay as it is."""
_NO_PROXY = "localhost,127.0.0.1,::1,host.docker.internal,169.254.169.254,169.254.170.2"


class StandInError(Exception):
    """The stand-in could not be started. The message says what to do."""


def ensure_installed(root: Path) -> Path:
    """The interpreter of the environment with mitmproxy, `.rehearsal/google-venv` below `root`; made if need be.

    Raises `machine.environments.NotInstalled`.
    """
    return installed(root / ".rehearsal" / "google-venv", *REQUIREMENTS)


@dataclass(frozen=True, kw_only=True)
class Google:
    """A running stand-in. Plain data, so that a kept rehearsal can note it."""

    proxy: str
    """The proxy's address on this machine, `http://127.0.0.1:PORT`."""
    bridge_proxy: str | None
    """The same as containers reach it; None without a Docker bridge."""
    authority: str
    """File of the certificate of the authority that signs in Google's name."""
    home: str
    pid: int

    @property
    def modules(self) -> Path:
        """A folder with PySocks in it."""
        return Path(self.home) / "modules"

    @property
    def noted(self) -> dict[str, Any]:
        """Plain JSON, from which `Google(**noted)` is found again."""
        return asdict(self)

    def variables(self) -> dict[str, str]:
        """What a process on this machine must be given to take it for Google."""
        # httplib2 knows proxies only with PySocks, which the server does not install.
        return _variables(self.proxy, self.authority) | {"PYTHONPATH": str(self.modules)}

    def container(self) -> Mapping[str, Any]:
        """What a container must be given: `environment`, and `volumes` as Docker writes them."""
        assert self.bridge_proxy
        return {
            "environment": _variables(self.bridge_proxy, IN_CONTAINER),
            "volumes": [
                f"{self.home}/authorities.pem:{IN_CONTAINER}:ro",
                f"{self.home}/authorities.pem:{SYSTEM_IN_CONTAINER}:ro",
                f"{self.modules}/socks.py:{SOCKS_IN_CONTAINER}:ro",
            ],
        }

    def stop(self) -> None:
        """End it and remove its files. Safe when it is gone already."""
        # The pid may be another program's by now, so it must still carry our folder's name.
        if self.home.encode() in _command_line(self.pid):
            os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while self.home.encode() in _command_line(self.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        shutil.rmtree(self.home, ignore_errors=True)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _variables(proxy: str, authority: str) -> dict[str, str]:
    # All that Google offers is https. Without a proxy for http, health checks and the account's endpoint need no care.
    return {
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "NO_PROXY": _NO_PROXY,
        "no_proxy": _NO_PROXY,
        "SSL_CERT_FILE": authority,  # httpx
        # Clients' metadata documents come by the proxy too. Without it the server looks their hosts up itself.
        "FASTMCP_SSRF_TRUST_PROXY": "true",
        "REQUESTS_CA_BUNDLE": authority,
        "HTTPLIB2_CA_CERTS": authority,
    }


class Starting:
    """Starts the stand-in on entering the `with` block, and ends it on leaving unless it is to outlive this process.

    Args:
        python: interpreter with mitmproxy, from `ensure_installed`.
        bridge_address: address of the Docker bridge, so that containers reach it; None: loopback only.
        outlive: keep running when this process ends, for a kept rehearsal; `Google.stop` ends it.

    Raises:
        StandInError: it did not listen in time; the message has the last lines of its log.
    """

    def __init__(self, *, python: Path, bridge_address: str | None = None, outlive: bool = False) -> None:
        self._outlive = outlive
        port = free_port(bridge_address)
        self._home = Path(tempfile.gettempdir()) / f"rehearsal-google-{uuid.uuid4().hex[:8]}"
        self._home.mkdir(mode=0o755)  # Docker mounts the certificate from it; the key in it is readable by us alone.
        self._log = self._home / "log"
        script = Path(__file__).with_name("google_process.py")
        command = [str(python), "-I", str(script), "--home", str(self._home), "--bind", f"127.0.0.1:{port}"]
        command += ["--bind", f"{bridge_address}:{port}"] if bridge_address else []
        command += [] if outlive else ["--follow-parent"]
        with self._log.open("wb") as log:
            # Its own session: Ctrl-C reaches this process, which then stops it in order.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, cwd=self._home
            )
        self.google = Google(
            proxy=f"http://127.0.0.1:{port}",
            bridge_proxy=f"http://{bridge_address}:{port}" if bridge_address else None,
            authority=str(self._home / "mitmproxy-ca-cert.pem"),
            home=str(self._home),
            pid=self._process.pid,
        )

    def __enter__(self) -> Google:
        return self.google

    def wait(self) -> Google:
        """Wait until it listens."""
        deadline = time.monotonic() + START_TIMEOUT
        while b"ready" not in self._log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                lines = self._log.read_text(errors="replace").strip()[-2000:]
                raise StandInError(
                    f"the stand-in for Google did not start:\n{lines}\n"
                    "Remove .rehearsal/google-venv to have it installed anew, then run again."
                )
            time.sleep(0.02)
        return self.google

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._outlive and error is None:
            return
        if self._process.stdin:
            self._process.stdin.close()
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self._home, ignore_errors=True)
