"""`./ops clients`."""

from __future__ import annotations

import argparse

from operations.output import Output
from operations.verbs.base import OnConfiguration


def _run(options: argparse.Namespace, output: Output) -> int:
    from components import clients, settings

    services = settings.parse(settings.read_stack_file(settings.stack_file(options.stack))).services
    if options.service:
        services = {key: service for key, service in services.items() if key == options.service}
    may = {key: service.oauth for key, service in services.items() if service.server == "workspace-mcp"}
    known = [
        {
            "client": name,
            "redirect address": uri,
            "opens": clients.opens(uri),
            "admitted": ", ".join(key for key, oauth in may.items() if name in oauth.clients) or "no",
        }
        for name, client in clients.CLIENTS.items()
        for uri in client.redirect_uris
    ]
    by_hand = [
        {"client": "(by hand)", "redirect address": uri, "opens": clients.opens(uri), "admitted": key}
        for key, oauth in may.items()
        for uri in oauth.client_redirect_uris
    ]
    output.record("clients", known + by_hand)
    output.table(known + by_hand)
    for key, oauth in may.items():
        output.print(f"{key}: browsers may call from its own origin" + "".join(f", {each}" for each in oauth.origins))
    return 0


VERB = OnConfiguration(
    line="which MCP clients are known and admitted, and what each opens",
    more="An address that is admitted is admitted for all clients.",
    see="clients.md",
    run=_run,
)
