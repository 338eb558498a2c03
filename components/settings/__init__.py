"""The stack's configuration: its shape, its defaults, and the only place that reads it.

`load()` reads it inside a Pulumi program, `read_stack_file()` outside of one (rehearsal, operations); both end in
`parse()`, which reports every mistake at once in one `SettingsError`.
"""

from components.settings.access import Permissions, SecretKey
from components.settings.buckets import BucketOptions
from components.settings.delivery import Delivery
from components.settings.deployment import ROLLBACK_ALARMS, Deployment, RollbackAlarm
from components.settings.errors import SettingsError
from components.settings.estate import Estate
from components.settings.image import Image
from components.settings.model import NAMESPACE
from components.settings.monitoring import (
    PLACEHOLDER_ENDPOINTS,
    TOPICS,
    Alarms,
    Budget,
    Monitoring,
    Severity,
    Slack,
    Subscription,
    Topic,
    Topics,
)
from components.settings.policy_exceptions import ISSUER_KEPT, PolicyException
from components.settings.reading import load, parse, policy_exceptions
from components.settings.routing import (
    HostRouting,
    InternalRouting,
    PatternRouting,
    PrefixRouting,
    PublicRouting,
    RewriteRouting,
    Routing,
)
from components.settings.scaling import Autoscaling, Capacity, Schedule
from components.settings.service import Service
from components.settings.sign_in import Cache, DynamoDbState, MemoryState, OAuth, Tokens, ValkeyState
from components.settings.stack import Settings
from components.settings.stack_file import read_stack_file, stack_file
from components.settings.tasks import FARGATE_MEMORY, Discovery, Health
from components.settings.telemetry import LOG_RETENTION_DAYS, Logs, Tracing

__all__ = [
    "FARGATE_MEMORY",
    "ISSUER_KEPT",
    "LOG_RETENTION_DAYS",
    "NAMESPACE",
    "PLACEHOLDER_ENDPOINTS",
    "ROLLBACK_ALARMS",
    "TOPICS",
    "Alarms",
    "Autoscaling",
    "BucketOptions",
    "Budget",
    "Cache",
    "Capacity",
    "Delivery",
    "Deployment",
    "Discovery",
    "DynamoDbState",
    "Estate",
    "Health",
    "HostRouting",
    "Image",
    "InternalRouting",
    "Logs",
    "MemoryState",
    "Monitoring",
    "OAuth",
    "PatternRouting",
    "Permissions",
    "PolicyException",
    "PrefixRouting",
    "PublicRouting",
    "RewriteRouting",
    "RollbackAlarm",
    "Routing",
    "Schedule",
    "SecretKey",
    "Service",
    "Settings",
    "SettingsError",
    "Severity",
    "Slack",
    "Subscription",
    "Tokens",
    "Topic",
    "Topics",
    "Tracing",
    "ValkeyState",
    "load",
    "parse",
    "policy_exceptions",
    "read_stack_file",
    "stack_file",
]
