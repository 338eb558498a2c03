"""Install what a locked file names into a folder, with uv: a second, where pip takes ten.

Usage: install.py FOLDER FILE, beside `bin/uv`. FILE: as pip's requirements, each with hashes.

uv does not read pip's configuration, by which a closed network names its index, its authorities and its proxy. It gets
them here, those of files and of variables alike; a variable of uv's own goes before.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
}
"""pip's options that say where packages are and how they are reached, and uv's variables for the same."""
OWN = {
    "UV_INDEX_STRATEGY": "unsafe-best-match",  # As pip: any index may have any package. The hashes say which it is.
    "UV_SYSTEM_CERTS": "true",
    "UV_LINK_MODE": "copy",  # The cache is on another file system.
    "UV_PYTHON_DOWNLOADS": "never",
}


def configured(listed: str) -> dict[str, str]:
    """pip's options, of what `pip config list` prints: lines such as `global.index-url='https://...'`."""
    options = {}
    for section in ("global", "install", ":env:"):  # The later goes before.
        for line in listed.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(f"{section}."):
                options[name.removeprefix(f"{section}.").removeprefix("default-")] = str(ast.literal_eval(value))
    return options


def variables(options: dict[str, str]) -> dict[str, str]:
    """uv's, of pip's options."""
    several = {"find-links": ","}  # Where pip has white space.
    found = {name: several.get(name, " ").join(options.get(name, "").split()) for name in VARIABLES}
    return {VARIABLES[name]: value for name, value in found.items() if value}


def main() -> None:
    folder, file = sys.argv[1:]
    pip = [sys.executable, "-m", "pip", "config", "list"]
    options = configured(subprocess.run(pip, check=True, stdout=subprocess.PIPE, text=True).stdout)
    uv = Path(__file__).parent / "bin" / "uv"
    command = [uv, "pip", "install", "--python", sys.executable, "--target", folder, "--requirements", file]
    command += ["--require-hashes", "--only-binary", ":all:", "--no-deps", "--no-config"]
    command += ["--no-index"] if options.get("no-index", "").lower() in ("1", "true", "yes", "on") else []
    done = subprocess.run(command, env=OWN | variables(options) | os.environ)
    (Path(folder) / ".lock").unlink(missing_ok=True)  # uv's own, which anybody may write.
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
