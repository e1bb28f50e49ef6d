"""What Schemathesis does not know by itself: how a list is written as lines of JSON."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
def lines(_context, value):
    """One line for each item; what is no list is a line of its own."""
    items = value if isinstance(value, list) else [value]
    return "".join(json.dumps(item) + "\n" for item in items).encode()
