"""What happens in the account is said when it happens, so that nobody asks ten times a second whether it has."""

import asyncio
import hashlib
import logging
import threading
import time
from typing import Any

from rehearsal.emulator_calls import App, Message, Receive
from rehearsal.emulator_process.needs import need
from rehearsal.targets import CHANGES

_BETWEEN = 0.05  # seconds between two looks at the load balancers, here, where a look costs next to nothing
_WAIT = 10.0  # seconds after which an answer says that nothing changed

log = logging.getLogger(__name__)


def tell_changed_load_balancers(app: App, alb: Any) -> App:
    """`app`, which at `CHANGES?<version>` answers the version of all rules, target groups and targets once it is
    another than that one, or after ten seconds.

    alb: the module of MiniStack.

    Stays: AWS's load balancer is told by AWS; here it is the edge, a process of its own, and asking for all twice a
    second takes more of a processor than what it does for requests.
    """
    stores = "_rules", "_tgs", "_targets"
    need(alb, *stores)

    def version() -> str:
        return hashlib.sha256(repr([getattr(alb, store)._data for store in stores]).encode()).hexdigest()

    async def telling(scope: Message, receive: Receive, send: Any) -> None:
        if scope.get("path") != CHANGES:
            await app(scope, receive, send)
            return
        known, deadline = scope["query_string"].decode(), time.monotonic() + _WAIT
        while (now := version()) == known and time.monotonic() < deadline:
            await asyncio.sleep(_BETWEEN)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": now.encode()})

    return telling


def look_at_containers_that_ended(ecs: Any) -> None:
    """Let ECS look at a task's containers once Docker has said that one ended; MiniStack asks Docker twice for each
    container ten times a second.

    While Docker cannot be listened to, MiniStack's own way stands.

    Goes when MiniStack follows Docker's events, or waits for a container's end.
    """
    need(ecs, "_maybe_mark_stopped", "_get_docker")
    look, began = ecs._maybe_mark_stopped, int(time.time())
    ended: set[str] = set()
    listening = threading.Event()

    def listen(client: Any) -> None:
        while True:
            try:
                # Those since the beginning come first: none is missed.
                events = client.events(since=began, filters={"type": "container", "event": "die"}, decode=True)
                listening.set()
                for event in events:
                    ended.add(event["Actor"]["ID"])
            except Exception as error:  # The engine may go, and come again.
                log.debug("Docker's events ended: %s", error)
            listening.clear()
            time.sleep(1)

    lock, listeners = threading.Lock(), list[threading.Thread]()

    def look_if_one_ended(task: dict[str, Any], client: Any = None) -> None:
        with lock:
            if not listeners and (engine := ecs._get_docker()):
                listeners.append(threading.Thread(target=listen, args=[engine], daemon=True))
                listeners[0].start()
        if not listening.is_set() or ended.intersection(task.get("_docker_ids") or ()):
            look(task, client)

    ecs._maybe_mark_stopped = look_if_one_ended
