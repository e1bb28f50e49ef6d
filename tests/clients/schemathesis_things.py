"""Adds a dozen of each thing to a fresh server, so that generated requests find something."""

import json
import sys
import time
import urllib.request

BASE, KEY = sys.argv[1], sys.argv[2]


def post(path, body):
    """Posts a body and returns the answer."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{BASE}/api/v1{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


in_a_week = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7 * 86_400))
for topic in ["offers", "news"]:
    post("/topics", {"name": topic, "default": "all_opted_in"})
for n in range(1, 13):
    post("/users", {
        "phone": f"+141555501{n:02}",
        "attributes": {"name": f"Ana {n}", "city": "Galle", "n": n},
        "consent": {"state": "opt_in", "source": "form", "evidence": f"Form {n}"},
    })
    post("/templates", {"name": f"Template {n}", "channel": "sms", "body": "Hi {name|default(\"there\")}"})
    post("/segments", {"name": f"Segment {n}", "definition": {"attribute": "n", "operator": "lte", "value": n}})
    post("/campaigns", {
        "name": f"Campaign {n}", "channel": "sms", "template_id": n, "segment_id": n, "quiet_hours": "off",
    })
post("/api-keys", {"name": "to be revoked", "scopes": ["read"]})
for n in range(1, 4):
    post("/messages", {
        "to": f"+141555501{n:02}", "channel": "sms", "body": f"Order {n} is on its way.", "reference": f"order-{n}",
        "send_at": in_a_week,
    })
    post(f"/campaigns/{n}/launch", {})
