"""Start the server the way the image does and fail the build unless it works.

Asked: GET /health answers 200 within LIMIT seconds, POST /mcp without a token is refused with 401, SIGTERM ends the
process within STOP seconds. On failure the server's own output is printed, because the build log is all its reader has.

Usage: smoke.py ENTRYPOINT..., in the image's own environment and user.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection, HTTPException

LIMIT = 90.0  # seconds; 2 s on a free core, but a build machine may be emulating another architecture
STOP = 10.0  # seconds; ECS waits 30 before it kills


def status(method: str, path: str) -> int:
    """The HTTP status of one request to the server, 0 when nothing answers."""
    connection = HTTPConnection("127.0.0.1", int(os.environ["PORT"]), timeout=5)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()


def problem(server: "subprocess.Popen[bytes]") -> str:
    """What is wrong with the server that was just started, which is stopped on the way; empty when nothing is."""
    deadline = time.monotonic() + LIMIT
    while (health := status("GET", "/health")) != 200:
        if server.poll() is not None:
            return f"the server ended by itself with exit code {server.returncode}"
        if time.monotonic() > deadline:
            return f"GET /health answered {health or 'nothing'} for {LIMIT:.0f} s"
        time.sleep(0.1)
    if (refused := status("POST", "/mcp")) != 401:
        return f"POST /mcp without a token answered {refused}, not 401: OAuth 2.1 is not on"
    server.terminate()
    try:
        server.wait(STOP)
    except subprocess.TimeoutExpired:
        return f"the server still runs {STOP:.0f} s after SIGTERM"
    return ""


def main() -> None:
    os.environ |= {"GOOGLE_OAUTH_CLIENT_ID": "smoke", "GOOGLE_OAUTH_CLIENT_SECRET": "smoke"}
    with tempfile.TemporaryFile() as output:
        server = subprocess.Popen(sys.argv[1:], stdout=output, stderr=subprocess.STDOUT)
        try:
            found = problem(server)
        finally:
            server.kill()
        if found:
            output.seek(0)
            shutil.copyfileobj(output, sys.stdout.buffer)
            sys.stdout.flush()  # before the reason, which goes to the other stream and is to come last
            sys.exit(f"smoke: {found}")


main()
