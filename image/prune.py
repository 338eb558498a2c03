"""Leave out of the image what this server never opens, a third of what its packages bring.

`lock FILE SERVER LIBRARIES` splits the lock into the server and its libraries, without `LEFT_OUT`. `server FILE` looks
at the server, and writes which descriptions of APIs its source asks for. `libraries FOLDER FILE` takes from the folder
all other descriptions (Google's are about 100 MB in some 600 files, AWS's but for S3's and DynamoDB's 30 MB), what
`_FILES` names, and the source of libraries, of which the byte code stays: an error's traceback has their files and
lines, and for those that every request passes through the text too. What is left it puts into the environment whose
interpreter runs it.

Each fails where a new version no longer fits: a package that another file imports, a file that is not there.
check.py and the acceptance tests then try what is left: each module, each client, each tool.

`googleapiclient.discovery.build(name, version)` reads `<name>.<version>.json` from the installed package and fails
for a file that is not there, so what stays is read from the server's own source: its table of services and every
literal `build("name", "version")`.

Goes when Google's and AWS's libraries come without the descriptions of all their services, and the server's other
libraries without what is for the shell.
"""

import ast
import compileall
import re
import shutil
import sys
from pathlib import Path
from py_compile import PycInvalidationMode
from sysconfig import get_config_var

SERVER = Path("/opt/server")
LEFT_OUT: dict[str, tuple[str, str]] = {
    # Package -> its module, and a pattern of the files that may import it: none of them is run, or it goes on without.
    "beartype": ("beartype", r"key_value/aio/(__init__|_utils/beartype)"),  # deferred.py stands in for it.
    "cyclopts": ("cyclopts", "fastmcp/cli/"),
    "dnspython": ("dns", "email_validator/"),  # For asking whether a domain takes mail.
    "docstring-parser": ("docstring_parser", "-"),  # For cyclopts, as rich-rst.
    "jaraco-classes": ("jaraco", "-"),  # For keyring, as all that follow.
    "jaraco-context": ("jaraco", "-"),
    "jaraco-functools": ("jaraco", "-"),
    "jeepney": ("jeepney", "-"),
    "keyring": ("keyring", r"(key_value/aio/stores/keyring/store|scripts/release)\.py"),
    "more-itertools": ("more_itertools", "-"),
    "pygments": ("pygments", r"(httpx2?/_main|rich/(syntax|traceback))\.py"),  # The launcher turns off Rich's logging.
    "pyperclip": ("pyperclip", "fastmcp/cli/"),
    "rich-rst": ("rich_rst", "-"),
    "secretstorage": ("secretstorage", "-"),
    "watchfiles": ("watchfiles", r"(fastmcp/cli/run|uvicorn/supervisors/watchfilesreload)\.py"),
}
_BUILD_CALL = re.compile(r"""\bbuild\(\s*["'](\w+)["'],\s*["'](\w+)["']""")
_FILES = (
    "glide/glide.*.so",  # From before it had the library in glide_shared, which is as large.
    "glide_shared/_fast_response.*.so",  # For other interpreters; this one's stays.
    "trio/_tests",
    "**/*.pyi",
)
_SOURCE_STAYS = ("fastmcp", "googleapiclient", "httplib2", "key_value", "mcp", "starlette")


def lock(requirements: str, server: str, libraries: str) -> None:
    """Write the part of `requirements` that is the server, and the rest."""
    entries = re.split(r"^(?=[a-z0-9])", Path(requirements).read_text(), flags=re.M)
    named = {re.split(r"[^\w.-]", entry)[0]: entry for entry in entries if entry.strip()}
    if stale := sorted(LEFT_OUT.keys() - named):
        sys.exit(f"prune: the lock has no {', '.join(stale)}: strike it from LEFT_OUT")
    Path(server).write_text(named.pop("workspace-mcp"))
    Path(libraries).write_text("".join(entry for name, entry in named.items() if name not in LEFT_OUT))


def server(descriptions: str) -> None:
    """The server's own imports; into `descriptions` the names of Google's that its source asks for."""
    hold_imports(SERVER)
    sources = {path: path.read_text() for path in SERVER.rglob("*.py")}
    tables = re.findall(
        r"^SERVICE_CONFIGS = (\{.*?^\})", sources[SERVER / "auth" / "service_decorator.py"], re.M | re.S
    )
    if len(tables) != 1:
        sys.exit("prune: the server's table of services, SERVICE_CONFIGS, is no longer where it was")
    wanted = {(config["service"], config["version"]) for config in ast.literal_eval(tables[0]).values()}
    for source in sources.values():
        wanted.update(_BUILD_CALL.findall(source))
    Path(descriptions).write_text("".join(f"{name}.{version}.json\n" for name, version in sorted(wanted)))
    compileall.compile_dir(SERVER, quiet=1, workers=0, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)


def libraries(folder: str, descriptions: str) -> None:
    """From the folder, where all of them were installed, into the environment."""
    packages = Path(folder)
    environment = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    hold_imports(packages)
    documents = packages / "googleapiclient" / "discovery_cache" / "documents"
    wanted = Path(descriptions).read_text().split()
    if missing := [name for name in wanted if not (documents / name).is_file()]:
        sys.exit(f"prune: the Google API client has no {', '.join(missing)}, which the server's source asks for")
    unwanted = [path for path in documents.glob("*.json") if path.name not in wanted]
    data = packages / "botocore" / "data"
    unwanted += [path for path in data.iterdir() if path.is_dir() and path.name not in ("s3", "dynamodb")]
    unwanted += [packages / "bin"]  # Commands of libraries: none of them is asked for.
    own = f"_fast_response{get_config_var('EXT_SUFFIX')}"
    for pattern in _FILES:
        if not (found := [path for path in packages.glob(pattern) if path.name != own]):
            sys.exit(f"prune: there is no {pattern}: strike it from _FILES")
        unwanted += found
    if re.search(r"\bglide\.glide\b|from \.glide import|from \. import glide\b", _text(packages / "glide")):
        sys.exit("prune: valkey-glide imports glide/glide.*.so again: strike it from _FILES")
    for path in unwanted:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (packages / "server.pth").write_text(f"{SERVER}\n")
    _compile(packages, environment)
    shutil.copytree(packages, environment, symlinks=True, dirs_exist_ok=True)


def _text(folder: Path) -> str:
    return "\n".join(path.read_text() for path in folder.rglob("*.py"))


def hold_imports(packages: Path) -> None:
    """End where what is left out is imported by a file that is not known to."""
    modules = {module: re.compile(allowed) for module, allowed in LEFT_OUT.values()}
    imports = re.compile(rf"^\s*(?:from|import)\s+({'|'.join(modules)})\b", re.M)
    found = [
        f"{path.relative_to(packages)} imports {module}"
        for path in packages.rglob("*.py")
        for module in sorted(set(imports.findall(path.read_text(errors="replace"))))
        if not modules[module].match(str(path.relative_to(packages)))
    ]
    if found:
        sys.exit(f"prune: {'; '.join(found)}, which is left out: strike it from LEFT_OUT, or say why it may")


def _compile(packages: Path, environment: Path) -> None:
    """Byte code beside the sources that stay, and in place of all others, as if they were in the environment."""
    options = {"quiet": 1, "workers": 0, "invalidation_mode": PycInvalidationMode.UNCHECKED_HASH}
    options |= {"stripdir": packages, "prependdir": environment}
    stays = re.compile(rf"^{packages}/({'|'.join(_SOURCE_STAYS)})/")
    compileall.compile_dir(packages, legacy=True, rx=stays, **options)
    for name in _SOURCE_STAYS:
        compileall.compile_dir(packages / name, **options)
    for source in packages.rglob("*.py"):
        if source.with_suffix(".pyc").is_file():
            source.unlink()


if __name__ == "__main__":
    {"lock": lock, "server": server, "libraries": libraries}[sys.argv[1]](*sys.argv[2:])
