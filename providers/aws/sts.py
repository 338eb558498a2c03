"""Who and where the account is; nothing of it is called by the program's resources."""

from __future__ import annotations

from providers.base import Context, Properties, function


@function("aws:index/getCallerIdentity:getCallerIdentity")
def get_caller_identity(context: Context, args: Properties) -> Properties:
    found = context.client("sts").get_caller_identity()
    return {"id": found["Account"], "accountId": found["Account"], "arn": found["Arn"], "userId": found["UserId"]}


@function("aws:index/getRegion:getRegion", "name")
def get_region(context: Context, args: Properties) -> Properties:
    name = args.get("name") or context.account.region
    return {"id": name, "name": name, "region": name, "description": name, "endpoint": f"ec2.{name}.amazonaws.com"}


@function("aws:index/getPartition:getPartition")
def get_partition(context: Context, args: Properties) -> Properties:
    return {"id": "aws", "partition": "aws", "dnsSuffix": "amazonaws.com", "reverseDnsPrefix": "com.amazonaws"}
