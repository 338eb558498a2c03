"""ElastiCache: caches stand behind their own names, and their users may do what the account says."""

import socket
from pathlib import Path
from typing import Any

from rehearsal.emulator_process.needs import need

PORT = 6379
ADMINISTRATOR = "administrator"
"""The user by which this process tells the rehearsal's cache who may do what."""


ENDPOINT = "master.{group}.rehearsal.cache.amazonaws.com"
"""Host name of the primary node of a replication group."""


def name_caches(elasticache: Any) -> None:
    """ElastiCache: a replication group has a host name of its own, as on AWS. MiniStack starts an image from a
    registry, or gives all groups one name.

    Goes when MiniStack gives each group a name without starting an image.
    """
    need(elasticache, "_spawn_redis_container")

    def named(*, name: str, labels: Any, **_: Any) -> tuple[str, int, None]:
        return ENDPOINT.format(group=labels.get("rg_id", name)), PORT, None

    elasticache._spawn_redis_container = named


def heed_authentication(elasticache: Any, folder: Path) -> None:
    """ElastiCache: a user's AuthenticationMode is heeded, and the cache of the rehearsal has the user. MiniStack heeds
    only the older Passwords. `folder`: has the cache's `socket` and its administrator's `password`; empty: there is
    none.

    Goes when MiniStack heeds AuthenticationMode and runs caches with their users.
    """
    need(elasticache, "_create_user", "_modify_user", "_delete_user", "_users", "_p")
    create, modify, delete = elasticache._create_user, elasticache._modify_user, elasticache._delete_user

    def heeded(change: Any, params: Any) -> Any:
        answer = change(params)
        user = elasticache._users.get(elasticache._p(params, "UserId"))
        kind = elasticache._p(params, "AuthenticationMode.Type")
        if user is None or answer[0] != 200 or not kind:
            return answer
        passwords = [elasticache._p(params, f"AuthenticationMode.Passwords.member.{n}") for n in (1, 2)]
        given = [password for password in passwords if password]
        user["Authentication"] = {"Type": kind, "PasswordCount": len(given)}
        _tell(folder, "SETUSER", user["UserName"], "reset", *(f">{p}" for p in given), *user["AccessString"].split())
        return answer

    def deleted(params: Any) -> Any:
        _tell(folder, "DELUSER", elasticache._p(params, "UserId"))
        return delete(params)

    elasticache._create_user = lambda params: heeded(create, params)
    elasticache._modify_user = lambda params: heeded(modify, params)
    elasticache._delete_user = deleted


def _tell(folder: Path, *words: str) -> None:
    """Say it to the rehearsal's cache, if there is one."""
    if not (folder / "socket").exists():
        return
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(folder / "socket"))
        answers = connection.makefile("rb")
        for command in (("AUTH", ADMINISTRATOR, (folder / "password").read_text()), ("ACL", *words)):
            parts = [b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in command]
            connection.sendall(b"*%d\r\n%s" % (len(parts), b"".join(parts)))
            answer = answers.readline()
            if not answer.startswith((b"+", b":")):
                raise OSError(f"the cache does not take {command[0]} {command[1]}: {answer.decode().strip()}")
