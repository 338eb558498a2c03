"""Runs Locust inside its own virtual environment; started by `loadtest.run`, never by hand.

Reads one line of JSON from standard input, which holds tokens and so is no argument, and prints one:

    {"url": "https://...", "connectTo": "http://127.0.0.1:PORT" or null, "mcpPath": "/mcp", "healthPath": "/health",
     "users": 10, "seconds": 30, "pause": [0.5, 1.5], "weights": {"health": 1, "tools/list": 1, "search": 1},
     "people": [{"token": "..." or null, "search": {"name": TOOL, "arguments": {...}} or null}]}
    {"figures": [{"name": "health", "count": 290, "failures": 0, "rate": 9.7, "p50": 12, "p95": 40, "p99": 80,
     "most": 95}], "errors": [{"name": "health", "error": "...", "count": 1}], "busy": false}

Times in milliseconds, rate in requests a second. Ends when standard input closes, as whoever asked is gone. Imports
nothing of the project, because the interpreter that runs it has Locust's packages and no others.
"""

import itertools
import json
import os
import sys
from urllib.parse import urlsplit

import gevent
from gevent.os import tp_read
from locust import between
from locust.contrib.fasthttp import FastHttpUser
from locust.env import Environment

RAMP = 5.0
"""Seconds in which the users come."""
PROTOCOL = "2025-06-18"
"""The version of MCP that every other user proposes, who begins a session:
https://modelcontextprotocol.io/specification/2025-06-18/basic/lifecycle."""
MODERN = "2026-07-28"
"""The version of the others, who begin none: https://modelcontextprotocol.io/specification/2026-07-28/basic/transports.
"""
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "load-test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Person(FastHttpUser):
    """A user: asks, waits as long as the plan says, and asks again."""

    abstract = True
    insecure = False  # A token is sent: to whom, is looked at.
    connection_timeout = 10.0
    network_timeout = 30.0
    plan = None
    people = None
    eras = None

    def on_start(self):
        self.person = next(self.people)
        self.modern = next(self.eras)
        self.session = {}
        self.number = 0
        self.common = {"Host": urlsplit(self.plan["url"]).netloc}
        self.path = urlsplit(self.plan["url"]).path
        if self.person["token"]:
            self.common["Authorization"] = f"Bearer {self.person['token']}"

    def health(self):
        self.client.get(self.path + self.plan["healthPath"], name="health", headers=self.common)

    def list_tools(self):
        if self.connected():
            self.call("tools/list", "tools/list", {})

    def search(self):
        if self.connected():
            self.call("search", "tools/call", self.person["search"])

    def connected(self):
        """Whether the user has a session, or needs none; begins one if not."""
        if not (self.session or self.modern):
            client = {"name": "load-test", "version": "1"}
            asked = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client}
            answer, headers = self.call("initialize", "initialize", asked)
            if answer is None:
                return False
            self.session = {"MCP-Protocol-Version": answer["protocolVersion"]}
            if "Mcp-Session-Id" in headers:
                self.session["Mcp-Session-Id"] = headers["Mcp-Session-Id"]
            self.post("initialized", {"jsonrpc": "2.0", "method": "notifications/initialized"}, lambda _text: None)
        return True

    def call(self, name, method, parameters):
        """The result, None if there is none, and the headers of the answer."""
        self.number += 1
        headers = {}
        if self.modern:
            headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
            headers |= {"Mcp-Name": parameters["name"]} if "name" in parameters else {}
            parameters = {**parameters, "_meta": META}
        document = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": parameters}
        return self.post(name, document, result_of, headers)

    def post(self, name, document, read, further=()):
        headers = {**self.common, **self.session, **dict(further), "Accept": "application/json, text/event-stream"}
        path = self.path + self.plan["mcpPath"]
        with self.client.post(path, name=name, json=document, headers=headers, catch_response=True) as answer:
            if answer.status_code not in (200, 202):
                answer.failure(f"status {answer.status_code}")
                if answer.status_code == 404:
                    self.session = {}  # It ended: a client begins another one.
                return None, {}
            try:
                return read(answer.text), answer.headers
            except ValueError as error:
                answer.failure(str(error))
                return None, {}


def result_of(text):
    """The result in an answer, JSON or an event stream. Raises `ValueError` where it is an error, or none."""
    lines = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
    message = json.loads(lines[-1] if lines else text)
    if "error" in message:
        raise ValueError(f"error {message['error'].get('code')}")
    if "result" not in message:
        raise ValueError("no result")
    if message["result"].get("isError"):
        raise ValueError("the tool failed")
    return message["result"]


TASKS = {"health": Person.health, "tools/list": Person.list_tools, "search": Person.search}


def main():
    plan = json.loads(sys.stdin.buffer.readline())
    gevent.spawn(lambda: (tp_read(0, 1), os._exit(1)))
    tasks = {TASKS[name]: weight for name, weight in plan["weights"].items()}
    people, eras = itertools.cycle(plan["people"]), itertools.cycle([False, True])
    host = plan["connectTo"] or "{0.scheme}://{0.netloc}".format(urlsplit(plan["url"]))
    members = {"tasks": tasks, "plan": plan, "people": people, "eras": eras, "host": host}
    kind = type("User", (Person,), members | {"wait_time": between(*plan["pause"])})
    environment = Environment(user_classes=[kind])
    runner = environment.create_local_runner()
    runner.start(plan["users"], spawn_rate=max(1.0, plan["users"] / RAMP))
    gevent.sleep(plan["seconds"])
    busy = runner.cpu_warning_emitted
    runner.quit()
    figures = [
        {
            "name": entry.name,
            "count": entry.num_requests,
            "failures": entry.num_failures,
            "rate": entry.num_requests / plan["seconds"],
            **{f"p{part}": entry.get_response_time_percentile(part / 100) for part in (50, 95, 99)},
            "most": entry.max_response_time,
        }
        for entry in environment.stats.entries.values()
    ]
    errors = [
        {"name": error.name, "error": str(error.error), "count": error.occurrences}
        for error in environment.stats.errors.values()
    ]
    sys.stdout.write(json.dumps({"figures": figures, "errors": errors, "busy": busy}) + "\n")


if __name__ == "__main__":
    main()
