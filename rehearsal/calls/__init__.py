"""AWS calls by which the rehearsal carries out what the program registers and looks up; one file for each service.

To add a resource type: a `Handler` with `@resource` in the file of its service, and that file in the import below.
To add a look-up: a function with `@function(token, argument...)`.
"""

from rehearsal.calls import (
    appautoscaling,
    budgets,
    cloudwatch,
    docker,
    ec2,
    ecr,
    ecs,
    elbv2,
    iam,
    kms,
    logs,
    route53,
    s3,
    secretsmanager,
    servicediscovery,
    sns,
    ssm,
    sts,
)
from rehearsal.calls.base import Context, Docker, Handler, NotCarriedOut, ProviderError, functions, handlers

__all__ = [
    "Context",
    "Docker",
    "Handler",
    "NotCarriedOut",
    "ProviderError",
    "appautoscaling",
    "budgets",
    "cloudwatch",
    "docker",
    "ec2",
    "ecr",
    "ecs",
    "elbv2",
    "functions",
    "handlers",
    "iam",
    "kms",
    "logs",
    "route53",
    "s3",
    "secretsmanager",
    "servicediscovery",
    "sns",
    "ssm",
    "sts",
]
