"""Acceptance tests of the server at a base URL: sign-in, endpoints, tools.

A token of a user who has signed in is taken from the environment variable ACCEPTANCE_TOKEN or from a file, never from
the command line. `./ops accept` does the same for a stack, and knows more of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from acceptance import Subject, run
from acceptance.subject import StandIn, read_token
from checks import Expectations, PublicAddress
from machine import output
from machine.output import NotWritten, writable, write


def main() -> int:
    """Run them; the exit status: 0 passed, 1 failed, 2 wrong command line."""
    parser = argparse.ArgumentParser(prog="python -m acceptance", description=__doc__)
    parser.add_argument("url", help="public URL of the server, without a slash at the end")
    parser.add_argument("--connect-to", metavar="ORIGIN", help="send requests there instead, http://127.0.0.1:PORT")
    parser.add_argument("--private", metavar="URL", help="URL that consumers inside the VPC use")
    parser.add_argument(
        "--redirect-uri", action="append", default=[], help="a redirect address that clients may register"
    )
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds the token")
    parser.add_argument("--google", type=json.loads, metavar="JSON", help="a rehearsal's stand-in, as its note has it")
    parser.add_argument("-k", default="", metavar="EXPRESSION", dest="only", help="only tests whose names match")
    parser.add_argument("--report", type=writable, metavar="FILE.md", help="write the report as Markdown")
    options = parser.parse_args()
    try:
        token = read_token(options.token_file)
        address = PublicAddress(url=options.url, connect_to=options.connect_to)
    except ValueError as error:
        parser.error(str(error))
    report = run(
        Subject(
            address=address,
            expectations=Expectations(client_redirect_uris=tuple(options.redirect_uri)),
            private=PublicAddress(url=options.private, connect_to=options.connect_to) if options.private else None,
            google=StandIn.noted(options.google).client if options.google else None,
            token=token,
        ),
        only=options.only,
    )
    print(json.dumps({"passed": report.passed, "checks": [dataclasses.asdict(check) for check in report.checks]}))
    if options.report:
        try:
            write(options.report, report.to_markdown())
        except NotWritten as error:
            print(error, file=sys.stderr)
            return 1
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(output.run(main))
