"""Secrets Manager: secrets without a value."""

from typing import Any

from rehearsal.emulator_process.needs import need


def make_secrets_without_value(secretsmanager: Any) -> None:
    """Secrets Manager: a secret that is made without a value has no version. MiniStack gives it one that is empty.
    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html

    Goes when MiniStack makes such a secret without a version.
    """
    need(secretsmanager, "_store_new_secret", "_secrets")
    store = secretsmanager._store_new_secret

    def store_without_value(name: str, secret_string: Any = None, secret_binary: Any = None, **more: Any) -> Any:
        made = store(name, secret_string=secret_string, secret_binary=secret_binary, **more)
        if secret_string is None and secret_binary is None:
            secretsmanager._secrets[name]["Versions"].clear()
        return made

    secretsmanager._store_new_secret = store_without_value
