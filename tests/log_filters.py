"""Metric filters as CloudWatch reads them: the emulated account stores patterns, and counts nothing."""

from __future__ import annotations

import json
import re

from components.observability import TERMS, filter_pattern


def counted(line: str) -> set[str]:
    """The filters that count a line, as CloudWatch reads their patterns: `?"a" ?"b"` is either of these texts in the
    line, `{ ($.f = "*a*") || ... }` in a field of a line that is JSON."""
    record = json.loads(line) if line.startswith("{") else None
    found = set()
    for part in TERMS:
        pattern = filter_pattern(part, "text" if record is None else "json")
        assert len(pattern) <= 1024, "more than PutMetricFilter takes"
        if record is None:
            terms = re.findall(r'\?"([^"]+)"', pattern)
            assert " ".join(f'?"{term}"' for term in terms) == pattern, "more syntax than this test understands"
            hit = any(term in line for term in terms)
        else:
            tests = re.findall(r'\(\$\.(\w+) = "(\*?)([^"*]+)\2"\)', pattern)
            written = " || ".join(f'($.{field} = "{star}{term}{star}")' for field, star, term in tests)
            assert f"{{ {written} }}" == pattern, "more syntax than this test understands"
            hit = any(
                term in record.get(field, "") if star else term == record.get(field) for field, star, term in tests
            )
        if hit:
            found.add(part)
    return found
