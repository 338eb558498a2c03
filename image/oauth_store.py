"""The store of OAuth state: registrations, sign-ins under way and tokens, where all tasks of a service share them.

WORKSPACE_MCP_OAUTH_PROXY_STORAGE_BACKEND says which: `memory`, `valkey` (the server's own), or `dynamodb`, which the
server has not got: then in the table WORKSPACE_MCP_OAUTH_PROXY_DYNAMODB_TABLE, whose partition key is `collection`,
sort key `key`, and whose `ttl` DynamoDB deletes by. All but the keys is encrypted by the server itself, with a key that
follows from FASTMCP_SERVER_AUTH_GOOGLE_JWT_SIGNING_KEY.

Where its store is wrong, the server would start with another one and say so in a line of its log: every task then has
state of its own, and people cannot sign in. Here that ends the start, and the deployment with it.

Goes when workspace-mcp can keep OAuth state in DynamoDB, and ends where the store that it was told cannot be used.
"""

import asyncio
import os
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import registrations
import store_failures

PREFIX = "WORKSPACE_MCP_OAUTH_PROXY_"
SIGNING_KEY = "FASTMCP_SERVER_AUTH_GOOGLE_JWT_SIGNING_KEY"
PROBE_SECONDS = 60  # After that even a probe that was broken off is gone.


def dynamodb(table: str) -> Any:
    """The store in a DynamoDB table.

    The library's own DynamoDB store reads what may be some seconds old, so that what one task has just written is
    missing on the next; it asks about the table and its TTL, which is no task's business; and it brings a second, older
    AWS SDK. The table has the form that the library gives it.
    """
    import boto3
    from botocore.config import Config
    from key_value.aio._utils.managed_entry import ManagedEntry
    from key_value.aio.stores.base import BaseStore

    # 3 attempts in all, within what a request may wait (`store_failures`) or little more.
    threads = 32
    config = Config(
        connect_timeout=2,
        read_timeout=2,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=threads,
    )
    # ECS sets AWS_REGION, by which boto3 does not go.
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    client = boto3.client("dynamodb", region_name=region, config=config)
    # Of its own: a table that does not answer must not take the threads that tools wait in.
    pool = ThreadPoolExecutor(threads, thread_name_prefix="oauth-state")

    class DynamoDBStore(BaseStore):
        async def _ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
            ask = getattr(client, operation)
            return await asyncio.get_running_loop().run_in_executor(pool, lambda: ask(TableName=table, **arguments))

        async def _get_managed_entry(self, *, collection: str, key: str) -> ManagedEntry | None:
            found = await self._ask("get_item", Key=_key(collection, key), ConsistentRead=True)
            item = found.get("Item")
            # It has its time of expiry in it: DynamoDB may take days until it deletes.
            return self._serialization_adapter.load_json(json_str=item["value"]["S"]) if item else None

        async def _put_managed_entry(self, *, collection: str, key: str, managed_entry: ManagedEntry) -> None:
            text = self._serialization_adapter.dump_json(entry=managed_entry, key=key, collection=collection)
            item = {**_key(collection, key), "value": {"S": text}}
            if managed_entry.expires_at is not None:
                item["ttl"] = {"N": str(int(managed_entry.expires_at.timestamp()))}
            await self._ask("put_item", Item=item)

        async def _delete_managed_entry(self, *, collection: str, key: str) -> bool:
            gone = await self._ask("delete_item", Key=_key(collection, key), ReturnValues="ALL_OLD")
            return bool(gone.get("Attributes"))

    return DynamoDBStore(stable_api=True)


def _key(collection: str, key: str) -> dict[str, dict[str, str]]:
    return {"collection": {"S": collection}, "key": {"S": key}}


def valkey() -> Any:
    """The server's own store in Valkey."""
    from core.valkey_storage import ResilientValkeyStore, build_valkey_client_config, configure_glide_logging

    configure_glide_logging()
    # Within what a request may wait (`store_failures`), so that it is the client that says what is wrong.
    os.environ.setdefault(f"{PREFIX}VALKEY_CONNECTION_TIMEOUT_MS", "4000")
    os.environ.setdefault(f"{PREFIX}VALKEY_REQUEST_TIMEOUT_MS", "3000")
    return ResilientValkeyStore(config=build_valkey_client_config())


async def probe(store: Any) -> None:
    """Write, read and delete; raises where the store does not do it."""
    key, value = f"probe-{secrets.token_hex(8)}", {"written": datetime.now(UTC).isoformat()}
    await store.put(key=key, value=value, collection="probes", ttl=PROBE_SECONDS)
    if await store.get(key=key, collection="probes") != value:
        raise OSError("what was written cannot be read")
    if not await store.delete(key=key, collection="probes"):
        raise OSError("what was written cannot be deleted")
    if close := getattr(store, "close", None):
        await close()


def connect() -> None:
    """Give the server its store, tried before. Ends the process where there is none or it cannot be used."""
    backend = os.environ.get(f"{PREFIX}STORAGE_BACKEND", "").strip().lower()
    if backend not in ("memory", "dynamodb", "valkey"):
        sys.exit(f"ERROR: OAuth state: {PREFIX}STORAGE_BACKEND is {backend or 'not set'}; memory, dynamodb or valkey")
    place = ""
    if backend != "memory":
        table, host = (os.environ.get(f"{PREFIX}{part}", "").strip() for part in ("DYNAMODB_TABLE", "VALKEY_HOST"))
        needed = {f"{PREFIX}DYNAMODB_TABLE": table} if backend == "dynamodb" else {f"{PREFIX}VALKEY_HOST": host}
        needed[SIGNING_KEY] = os.environ.get(SIGNING_KEY, "").strip()
        if missing := [name for name, value in needed.items() if not value]:
            sys.exit(f"ERROR: OAuth state: {' and '.join(missing)} is needed for {backend}")
        place = f"DynamoDB table {table}" if backend == "dynamodb" else f"Valkey at {host}"
        try:
            asyncio.run(probe(dynamodb(table) if backend == "dynamodb" else valkey()))
        except Exception as error:  # Of three libraries, and each ends the start.
            sys.exit(f"ERROR: OAuth state: {place} cannot be used: {_told(error)}")
        print(f"OAuth state: {place} was written and read", flush=True)
        if backend == "dynamodb":
            _in_place_of_files(table)
    _hold_the_server_to(backend, place)


def _told(error: BaseException) -> str:
    """The error and its causes, without the password that a client's message may have."""
    words: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        words += [text] if (text := f"{type(seen).__name__}: {seen}") not in words else []
        seen = seen.__cause__
    text = " ".join("; ".join(words).split())
    password = os.environ.get(f"{PREFIX}VALKEY_PASSWORD", "")
    return text.replace(password, "<password>") if password else text


def _in_place_of_files(table: str) -> None:
    """Let the server make our store where it would make files: there it wraps what it made into its encryption."""
    from core import storage

    storage.make_sanitized_file_store = lambda _directory: dynamodb(table)
    os.environ[f"{PREFIX}STORAGE_BACKEND"] = "disk"
    os.environ[f"{PREFIX}DISK_DIRECTORY"] = f"dynamodb:{table}"  # Only its log line has it.


def _hold_the_server_to(backend: str, place: str) -> None:
    """End the start where the server took another store than it was told, does not encrypt, or keeps registrations that
    nobody uses. Watch its store, which the log calls `place`, where it is not memory."""
    from core import server

    configure = server.configure_server_for_http
    wanted = {"memory": "MemoryStore", "dynamodb": "DynamoDBStore", "valkey": "ResilientValkeyStore"}[backend]

    def checked() -> None:
        configure()
        store = server._oauth_client_storage
        if backend != "memory":
            if type(store).__name__ != "FernetEncryptionWrapper":
                sys.exit(f"ERROR: OAuth state: the server does not encrypt it ({type(store).__name__})")
            # What was written with a key that is no more counts as missing: its owner registers and signs in again,
            # where an error would lock them out until it expires.
            store.raise_on_decryption_error = False
            store = store.key_value
        if type(store).__name__ != wanted:
            sys.exit(f"ERROR: OAuth state: the server uses {type(store).__name__} in place of {wanted}")
        if place:
            store_failures.watch(store, place, _told)
        try:
            registrations.expire_unused(server._auth_provider)
        except AttributeError as error:
            sys.exit(f"ERROR: OAuth state: registrations that nobody uses would stay for ever: {error}")

    server.configure_server_for_http = checked
