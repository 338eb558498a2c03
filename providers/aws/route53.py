"""Route 53: records; look-up of hosted zones."""

from __future__ import annotations

from typing import Any

from providers.base import Context, Handler, Properties, function, resource, the_one


@resource
class Record(Handler):
    type = "aws:route53/record:Record"
    properties = frozenset({"zoneId", "name", "type", "ttl", "records", "aliases"})
    replacing = frozenset({"zoneId", "name", "type"})
    steering = frozenset({"allowOverwrite"})
    defaults = {"records": [], "aliases": []}
    unordered = frozenset({"records"})

    def find(self, inputs: Properties) -> str | None:
        return self._if_there(f"{inputs['zoneId']}_{inputs['name']}_{inputs['type']}")

    def _change(self, action: str, record: dict[str, Any], zone: str) -> None:
        self.context.client("route53").change_resource_record_sets(
            HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": record}]}
        )

    def _record(self, inputs: Properties) -> dict[str, Any]:
        record: dict[str, Any] = {"Name": self._full_name(inputs["zoneId"], inputs["name"]), "Type": inputs["type"]}
        if inputs.get("aliases"):
            alias = inputs["aliases"][0]
            record["AliasTarget"] = {
                "HostedZoneId": alias["zoneId"],
                "DNSName": alias["name"],
                "EvaluateTargetHealth": alias["evaluateTargetHealth"],
            }
        else:
            record |= {"TTL": inputs["ttl"], "ResourceRecords": [{"Value": value} for value in inputs["records"]]}
        return record

    def _full_name(self, zone: str, name: str) -> str:
        suffix = self.context.client("route53").get_hosted_zone(Id=zone)["HostedZone"]["Name"].rstrip(".")
        return name.rstrip(".") if name.rstrip(".").endswith(suffix) else f"{name}.{suffix}"

    def create(self, inputs: Properties) -> str:
        self._change("UPSERT" if inputs.get("allowOverwrite") else "CREATE", self._record(inputs), inputs["zoneId"])
        return f"{inputs['zoneId']}_{inputs['name']}_{inputs['type']}"

    def _find(self, locator: str) -> dict[str, Any] | None:
        zone, _, rest = locator.partition("_")
        name, _, kind = rest.rpartition("_")
        route53 = self.context.client("route53")
        try:
            name = self._full_name(zone, name)
        except route53.exceptions.NoSuchHostedZone:
            return None
        pages = route53.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone)
        return next(
            (
                dict(record)
                for page in pages
                for record in page["ResourceRecordSets"]
                if record["Name"].rstrip(".") == name and record["Type"] == kind
            ),
            None,
        )

    def read(self, locator: str) -> Properties | None:
        found = self._find(locator)
        if found is None:
            return None
        zone, _, rest = locator.partition("_")
        name, _, kind = rest.rpartition("_")
        alias = found.get("AliasTarget")
        return {
            "id": locator,
            "zoneId": zone,
            "name": name,
            "type": kind,
            "fqdn": found["Name"].rstrip("."),
            "ttl": found.get("TTL"),
            "records": [entry["Value"] for entry in found.get("ResourceRecords", [])],
            "aliases": [
                {
                    "zoneId": alias["HostedZoneId"],
                    "name": alias["DNSName"],
                    "evaluateTargetHealth": alias["EvaluateTargetHealth"],
                }
            ]
            if alias
            else [],
        }

    def equal(self, name: str, wanted: Any, actual: Any, inputs: Properties) -> bool:
        if name == "aliases":  # Route 53 returns names with a final dot and in lower case.

            def plain(aliases: Any) -> list[dict[str, Any]]:
                return [alias | {"name": alias["name"].rstrip(".").lower()} for alias in aliases or []]

            return plain(wanted) == plain(actual)
        return super().equal(name, wanted, actual, inputs)

    def update(self, locator: str, inputs: Properties, changed: frozenset[str]) -> None:
        self._change("UPSERT", self._record(inputs), inputs["zoneId"])

    def delete(self, locator: str, recorded: Properties) -> None:
        found = self._find(locator)
        if found is not None:
            self._change("DELETE", found, locator.partition("_")[0])


@function("aws:route53/getZone:getZone", "name", "zoneId", "privateZone")
def get_zone(context: Context, args: Properties) -> Properties:
    zones = [
        zone
        for page in context.client("route53").get_paginator("list_hosted_zones").paginate()
        for zone in page["HostedZones"]
    ]
    matching = [
        zone
        for zone in zones
        if zone["Id"].endswith(args.get("zoneId", ""))
        and ("name" not in args or zone["Name"].rstrip(".") == args["name"].rstrip("."))
        and ("zoneId" in args or bool(zone["Config"].get("PrivateZone")) == bool(args.get("privateZone")))
    ]
    found = the_one(matching, "Route 53 Hosted Zone", args)
    zone_id = found["Id"].removeprefix("/hostedzone/")
    detail = context.client("route53").get_hosted_zone(Id=zone_id)
    return {
        "id": zone_id,
        "zoneId": zone_id,
        "name": found["Name"].rstrip("."),
        "arn": f"arn:aws:route53:::hostedzone/{zone_id}",
        "privateZone": bool(found["Config"].get("PrivateZone")),
        "callerReference": found["CallerReference"],
        "comment": found["Config"].get("Comment", ""),
        "nameServers": detail.get("DelegationSet", {}).get("NameServers", []),
        "resourceRecordSetCount": found.get("ResourceRecordSetCount", 0),
    }
