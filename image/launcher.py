"""Start workspace-mcp, with its users' credentials in S3 and its OAuth state in DynamoDB where the environment says so.

WORKSPACE_MCP_CREDENTIAL_STORE_BACKEND=s3: in WORKSPACE_MCP_S3_BUCKET, below WORKSPACE_MCP_S3_PREFIX. A bucket that
cannot be read and written ends the start: a deployment then fails, and not the first person's sign-in.

Goes when workspace-mcp can keep credentials in S3 itself.
"""

# ruff: noqa: E402
import locations

locations.begin()

import os
import sys

import deferred

# Its colours need a package that the image has not got, and its lines are cut where a log wants them whole.
os.environ["FASTMCP_ENABLE_RICH_LOGGING"] = "false"
deferred.begin()  # Before anything of what it defers is imported.

import tool_schemas

if tool_schemas.FILE.exists():
    tool_schemas.replay()

from auth.credential_store import get_selected_backend, set_credential_store

if get_selected_backend() == "s3":
    from botocore.exceptions import BotoCoreError, ClientError
    from s3_store import S3CredentialStore

    bucket, prefix = (os.environ.get(f"WORKSPACE_MCP_S3_{part}", "") for part in ("BUCKET", "PREFIX"))
    if not bucket or not prefix.strip("/"):
        sys.exit("ERROR: OAuth storage: WORKSPACE_MCP_S3_BUCKET and WORKSPACE_MCP_S3_PREFIX are needed; set both")
    try:
        store = S3CredentialStore(bucket, prefix)
        store.check()
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"ERROR: OAuth storage: s3://{bucket}/{prefix}/ cannot be used: {error}")
    set_credential_store(store)

if os.environ.get("MCP_ENABLE_OAUTH21", "").strip().lower() == "true":
    import oauth_store

    oauth_store.connect()

# After it: they take the server as main has made it.
import calls
import middleware
from core.server import server
from main import main  # It reads the environment and loads all tools when it is imported.

calls.prepare(server)
middleware.install()
main()
