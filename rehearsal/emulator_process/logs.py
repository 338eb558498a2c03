# mypy: disable-error-code="import-not-found"
"""CloudWatch Logs: saved queries."""

import json
import time
import uuid
from typing import Any


def save_queries(logs: Any) -> None:
    """Add saved queries: PutQueryDefinition, DescribeQueryDefinitions and DeleteQueryDefinition, which MiniStack does
    not have. One account, so one list.

    Goes when MiniStack has PutQueryDefinition.
    """
    from ministack.core.responses import error_response_json, json_response

    saved: dict[str, dict[str, Any]] = {}
    others = logs.handle_request

    def put(request: Any) -> Any:
        id_ = request.get("queryDefinitionId") or str(uuid.uuid4())
        saved[id_] = {
            "queryDefinitionId": id_,
            "name": request["name"],
            "queryString": request["queryString"],
            "logGroupNames": request.get("logGroupNames", []),
            "lastModified": int(time.time() * 1000),
        }
        return json_response({"queryDefinitionId": id_})

    def describe(request: Any) -> Any:
        prefix = request.get("queryDefinitionNamePrefix", "")
        return json_response({"queryDefinitions": [one for one in saved.values() if one["name"].startswith(prefix)]})

    def delete(request: Any) -> Any:
        if saved.pop(request.get("queryDefinitionId"), None) is None:
            return error_response_json("ResourceNotFoundException", "The query definition does not exist.", 400)
        return json_response({"success": True})

    actions = {"PutQueryDefinition": put, "DescribeQueryDefinitions": describe, "DeleteQueryDefinition": delete}

    async def handle(method: str, path: str, headers: Any, body: Any, query: Any) -> Any:
        action = actions.get(headers.get("x-amz-target", "").rpartition(".")[2])
        return action(json.loads(body)) if action else await others(method, path, headers, body, query)

    logs.handle_request = handle
