"""Load balancing: listener certificates, and quotas of rules."""

from collections.abc import Callable
from typing import Any

from rehearsal.emulator_process.needs import need


def describe_listener_certificates(alb: Any) -> None:
    """Answer DescribeListenerCertificates, which MiniStack lacks, from the listener's default certificate.

    Goes when MiniStack answers DescribeListenerCertificates.
    """

    def describe(parameters: dict[str, Any]) -> Any:
        listener = alb._listeners.get(alb._p(parameters, "ListenerArn")) or {}
        members = "".join(
            f"<member><CertificateArn>{arn}</CertificateArn><IsDefault>true</IsDefault></member>"
            for arn in listener.get("Certificates", [])
        )
        return alb._xml(200, "DescribeListenerCertificates", f"<Certificates>{members}</Certificates>")

    alb._ACTION_MAP["DescribeListenerCertificates"] = describe


def forward_by_weights(alb: Any) -> None:
    """Keep and tell the target groups of a forward action, each with its weight, as AWS does; MiniStack drops them.

    Goes when MiniStack's rules keep ForwardConfig.
    """
    need(alb, "_parse_actions", "_action_xml", "_p")
    parse, tell = alb._parse_actions, alb._action_xml

    def parse_all(parameters: dict[str, Any], prefix: str = "DefaultActions") -> list[dict[str, Any]]:
        actions: list[dict[str, Any]] = parse(parameters, prefix)
        for number, action in enumerate(actions, 1):
            groups: list[dict[str, Any]] = []
            start = f"{prefix}.member.{number}.ForwardConfig.TargetGroups.member"
            while arn := alb._p(parameters, f"{start}.{len(groups) + 1}.TargetGroupArn"):
                weight = int(alb._p(parameters, f"{start}.{len(groups) + 1}.Weight", "1"))
                groups.append({"TargetGroupArn": arn, "Weight": weight})
            if groups:
                action["ForwardConfig"] = {"TargetGroups": groups}
        return actions

    def tell_all(action: dict[str, Any]) -> str:
        groups = action.get("ForwardConfig", {}).get("TargetGroups", [])
        members = "".join(
            f"<member><TargetGroupArn>{group['TargetGroupArn']}</TargetGroupArn><Weight>{group['Weight']}</Weight></member>"
            for group in groups
        )
        told = str(tell(action))
        config = f"<ForwardConfig><TargetGroups>{members}</TargetGroups></ForwardConfig>"
        end = told.rindex("</member>") if told.endswith("</member>") else len(told)
        return told[:end] + config + told[end:] if groups else told

    alb._parse_actions, alb._action_xml = parse_all, tell_all


def hold_rules_to_quotas(alb: Any) -> None:
    """Refuse a listener rule with more than five condition values, or six wildcards in them, as AWS does.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html

    Goes when MiniStack refuses a sixth condition value and a seventh wildcard.
    """
    need(alb, "_parse_conditions", "_error", "_ACTION_MAP")

    def held(action: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        def act(parameters: dict[str, Any]) -> Any:
            values = [value for each in alb._parse_conditions(parameters) for value in each["Values"]]
            if len(values) > 5:
                return alb._error("TooManyConditionValues", "A rule can have at most 5 condition values")
            if sum(value.count("*") + value.count("?") for value in values) > 6:
                return alb._error("TooManyWildcards", "A rule can have at most 6 wildcards")
            return action(parameters)

        return act

    alb._ACTION_MAP |= {name: held(alb._ACTION_MAP[name]) for name in ("CreateRule", "ModifyRule")}
