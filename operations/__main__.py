"""`./ops`: finds the verb, has it run, and says what went wrong."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from machine import output as streams


def main(arguments: Sequence[str]) -> int:
    """Run the verb; the exit status."""
    # Here, where Ctrl-C is told in a word.
    from operations import verbs
    from operations.errors import OperationError, explained
    from operations.output import Output
    from operations.verbs.base import OnAccount, check_service

    if not arguments or arguments[0] in ("-h", "--help"):
        print(verbs.overview())
        return 0
    name, *rest = arguments
    if name not in verbs.NAMES:
        print(_unknown(name, verbs.NAMES), file=sys.stderr)
        return 2
    verb = verbs.find(name)
    options = verb.parser(name).parse_args(rest)
    output = Output(machines=options.json)
    try:
        check_service(options)
        if isinstance(verb, OnAccount):
            from operations.target import named

            status = verb.run(named(options.stack, rehearsal=options.rehearsal), options, output)
        else:
            status = verb.run(options, output)
    except KeyboardInterrupt:
        return output.fail(OperationError("Interrupted.", 130))
    except Exception as error:
        explanation = explained(error, options.stack)
        if explanation is None:
            raise
        return output.fail(explanation)
    output.close()
    return status


def _unknown(name: str, names: Sequence[str]) -> str:
    import difflib

    if name.startswith("-"):
        return f"The verb comes first, then {name}: ./ops VERB {name} ... The verbs: ./ops"
    near = difflib.get_close_matches(name, names, n=1)
    return " ".join([f"There is no verb {name}.", *(f"Did you mean {verb}?" for verb in near), "All verbs: ./ops"])


if __name__ == "__main__":
    sys.exit(streams.run(lambda: main(sys.argv[1:])))
