"""Users' Google credentials in an S3 bucket: a store for workspace-mcp, which has only a local directory and Google's
cloud itself.

A user has one object, replaced whole by one PutObject: who reads finds the old or the new. Requests name no
encryption, so that the bucket's own default applies. The content is that of the server's other stores, and the names
are those of its fork with S3 (`<prefix>/<address>.json`), so that what either wrote can be read.

Goes when workspace-mcp can keep credentials in S3 itself.
"""

import hashlib
import json
import logging
from datetime import datetime
from urllib.parse import quote

import boto3
from auth.credential_store import CredentialStore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from google.oauth2.credentials import Credentials

logger = logging.getLogger(__name__)

FIELDS = ("token", "refresh_token", "token_uri", "client_id", "client_secret", "scopes")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
KEY_BYTES = 1024
# All that an address may have beside letters, digits and _.-~ stays as it is (RFC 5322, atext), but for % and /.
PLAIN = "@!#$&'*+=?^`{|}"
# Answered within seconds or not at all: a person waits. 3 attempts in all.
CONFIG = Config(
    connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}, max_pool_connections=32
)


class S3CredentialStore(CredentialStore):
    """Credentials below `prefix` in `bucket`, with the AWS credentials of the process."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket, self.prefix = bucket, prefix.strip("/")
        self.s3 = boto3.client("s3", config=CONFIG)

    def key(self, user_email: str) -> str:
        """The user's key: below the prefix and no other user's, whatever the address contains."""
        if not user_email or not user_email.strip():
            raise ValueError("user_email must be a non-empty string")
        name = quote(user_email, safe=PLAIN, errors="surrogatepass")
        key = f"{self.prefix}/{name}{self.FILE_EXTENSION}"
        if len(key) > KEY_BYTES:
            # No other name has a slash.
            digest = hashlib.sha256(user_email.encode(errors="surrogatepass")).hexdigest()
            key = f"{self.prefix}/sha256/{digest}{self.FILE_EXTENSION}"
        return key

    def get_credential(self, user_email: str) -> Credentials | None:
        """None for a user without credentials, or with unreadable ones; raises where the bucket does not answer."""
        key = self.key(user_email)
        try:
            data = json.loads(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
            expiry = datetime.fromisoformat(data["expiry"]).replace(tzinfo=None) if data.get("expiry") else None
            return Credentials(**{field: data.get(field) for field in FIELDS}, expiry=expiry)
        except self.s3.exceptions.NoSuchKey:
            return None
        except (ValueError, TypeError, AttributeError):
            # Without the parser's words: they may quote the content.
            logger.error("OAuth storage: s3://%s/%s holds no credentials; the user has to sign in", self.bucket, key)
            return None
        except (BotoCoreError, ClientError) as error:
            logger.error("OAuth storage: s3://%s/%s could not be read: %s", self.bucket, key, error)
            raise

    def store_credential(self, user_email: str, credentials: Credentials) -> bool:
        key, expiry = self.key(user_email), credentials.expiry
        data = {field: getattr(credentials, field) for field in FIELDS}
        data |= {"expiry": expiry.isoformat() if expiry else None, "user_email": user_email}
        try:
            self.s3.put_object(
                Bucket=self.bucket, Key=key, Body=json.dumps(data).encode(), ContentType="application/json"
            )
        except (BotoCoreError, ClientError) as error:
            logger.error("OAuth storage: s3://%s/%s could not be written: %s", self.bucket, key, error)
            return False
        return True

    def delete_credential(self, user_email: str) -> bool:
        key = self.key(user_email)
        try:
            self.s3.delete_object(Bucket=self.bucket, Key=key)
        except (BotoCoreError, ClientError) as error:
            logger.error("OAuth storage: s3://%s/%s could not be deleted: %s", self.bucket, key, error)
            return False
        return True

    def list_users(self) -> list[str]:
        """Asked by single-user mode alone, which takes the first user's credentials for whoever calls."""
        raise NotImplementedError("credentials in S3 are for several users; single-user mode would mix them up")

    def check(self) -> None:
        """Raises unless a user's credentials can be written and read, and missing ones told from forbidden ones."""
        probe = f"{self.prefix}/probe"  # No user's: theirs end in .json.
        self.s3.put_object(Bucket=self.bucket, Key=probe, Body=b"")
        self.s3.get_object(Bucket=self.bucket, Key=probe)["Body"].read()
        self.get_credential("nobody")
