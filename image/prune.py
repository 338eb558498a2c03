"""Delete the API descriptions this server never opens: Google's (about 100 MB of some 600 files) and, but for S3's and
DynamoDB's, those of AWS (about 30 MB of some 400 directories).

`googleapiclient.discovery.build(name, version)` reads `<name>.<version>.json` from the installed package and fails
for a file that is not there, so what stays is read from the server's own source: its table of services and every
literal `build("name", "version")`. smoke.py then builds each client of that table from what is left.

Run by the interpreter of the server's own environment; fails when a description the server needs is not there.

Goes when Google's and AWS's libraries come without the descriptions of all their services.
"""

import re
import shutil
import sys
from importlib.metadata import files
from pathlib import Path

import botocore
import googleapiclient.discovery_cache
from auth.service_decorator import SERVICE_CONFIGS

BUILD_CALL = re.compile(r"""\bbuild\(\s*["'](\w+)["'],\s*["'](\w+)["']""")


def main() -> None:
    wanted = {(config["service"], config["version"]) for config in SERVICE_CONFIGS.values()}
    for source in files("workspace-mcp") or ():
        if source.suffix == ".py":
            wanted.update(BUILD_CALL.findall(source.read_text()))
    documents = Path(googleapiclient.discovery_cache.__file__).parent / "documents"
    keep = {documents / f"{name}.{version}.json" for name, version in wanted}
    if missing := sorted(path.name for path in keep if not path.is_file()):
        sys.exit(f"prune: the Google API client has no {', '.join(missing)}, which the server's source asks for")
    for document in set(documents.glob("*.json")) - keep:
        document.unlink()
    for service in (Path(botocore.__file__).parent / "data").iterdir():
        if service.is_dir() and service.name not in ("s3", "dynamodb"):
            shutil.rmtree(service)


main()
