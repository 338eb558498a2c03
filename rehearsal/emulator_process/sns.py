"""SNS: subscriptions that wait for a confirmation, and what people get."""

from typing import Any

from rehearsal.emulator_process.needs import need


def tell_pending_subscriptions(sns: Any) -> None:
    """SNS: a subscription that nobody has confirmed is listed as PendingConfirmation, and Subscribe gives its ARN to
    who asks with ReturnSubscriptionArn. MiniStack does it the other way round.

    Goes when MiniStack lists a subscription as PendingConfirmation, and heeds ReturnSubscriptionArn.
    """
    need(sns, "_subscribe", "_list_subscriptions_by_topic", "_topics", "_p")
    subscribe, listed = sns._subscribe, sns._list_subscriptions_by_topic

    def pending(params: Any) -> list[str]:
        topic = sns._topics.get(sns._p(params, "TopicArn")) or {}
        return [str(entry["arn"]) for entry in topic.get("subscriptions", []) if not entry.get("confirmed")]

    def replaced(answer: Any, before: str, after: str) -> Any:
        status, headers, body = answer
        return status, headers, body.replace(before.encode(), after.encode())

    def subscribe_as_asked(params: Any) -> Any:
        answer = subscribe(params)
        if sns._p(params, "ReturnSubscriptionArn") == "true" and (arns := pending(params)):
            return replaced(answer, "pending confirmation", arns[-1])
        return answer

    def list_pending(params: Any) -> Any:
        answer = listed(params)
        for arn in pending(params):
            answer = replaced(answer, arn, "PendingConfirmation")
        return answer

    sns._subscribe, sns._list_subscriptions_by_topic = subscribe_as_asked, list_pending


def keep_what_people_get(sns: Any) -> None:
    """SNS: what a topic sends by e-mail or SMS is kept, to be read at /_ministack/sns/sms-messages?phoneNumber=ADDRESS.
    MiniStack keeps there what is sent to a number without a topic, and drops the rest.

    Goes when MiniStack keeps what a topic sends by e-mail and SMS.
    """
    need(sns, "_fanout", "_topic_by_arn_any_scope", "_sms_log_for")
    fan_out = sns._fanout

    def fan_out_and_keep(topic: str, id_: str, message: str, subject: str, *more: Any, **named: Any) -> None:
        fan_out(topic, id_, message, subject, *more, **named)
        for entry in (sns._topic_by_arn_any_scope(topic) or {}).get("subscriptions", []):
            if entry.get("confirmed") and entry["protocol"] in ("email", "sms"):
                sns._sms_log_for(entry["endpoint"]).append(
                    {"PhoneNumber": entry["endpoint"], "TopicArn": topic, "Subject": subject, "Message": message}
                )

    sns._fanout = fan_out_and_keep
