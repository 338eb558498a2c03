"""Why a verb has no outcome, and the exit status that says so."""

from __future__ import annotations

from collections.abc import Iterable

UNREACHABLE = 3
"""Exit status when the account cannot be reached."""

STATUSES = (
    "exit status: 0 all is well; 1 something is wrong; 2 wrong command line or configuration; "
    "3 the account cannot be reached; 130 interrupted"
)


class OperationError(Exception):
    """A verb cannot do its work; the message says why and what to do. `status` is the exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def no_service(stack: str, key: str, known: Iterable[str]) -> OperationError:
    """A service was named that the stack has not got."""
    return OperationError(f"Stack {stack} has no service {key}; it has {', '.join(known)}.", 2)


def explained(error: Exception, stack: str) -> OperationError | None:
    """`error` as what a person is told; None for one that nobody foresaw."""
    # Here: whoever raised one of these has imported it already, and nobody else should wait for it.
    from botocore.exceptions import BotoCoreError, ClientError

    from components.account import AccountError
    from components.context import ContextError
    from components.estate import EstateError
    from components.settings import SettingsError
    from machine.output import NotWritten

    if isinstance(error, OperationError):
        return error
    if isinstance(error, NotWritten):
        return OperationError(str(error))
    if isinstance(error, (SettingsError, ContextError, AccountError)):
        return OperationError(str(error), 2)
    if isinstance(error, EstateError):
        return OperationError(f"{error}\nMore: ./ops preflight --stack {stack}")
    if isinstance(error, (BotoCoreError, ClientError)):
        again = " Log in again, for example: aws sso login; what ECS has begun goes on by itself."
        expired = again if "Expired" in str(error) else ""
        return OperationError(f"The account refused or did not answer: {error}{expired}", UNREACHABLE)
    return None
