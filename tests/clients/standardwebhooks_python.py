"""The official Python library of Standard Webhooks verifies requests that were posted: on stdin, a list of
headers, bodies, and secrets with whether each signed."""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def verifies(secret, body, headers):
    try:
        return Webhook(secret).verify(body, headers) == json.loads(body)
    except WebhookVerificationError:
        return False


cases = json.load(sys.stdin)
assert len(cases) == 3, cases
for case in cases:
    body, headers = case["body"], case["headers"]
    for secret, signed in case["secrets"]:
        assert verifies(secret, body, headers) == signed, (secret, signed, headers)
        assert not verifies(secret, body.replace("user.updated", "user.erased"), headers)
        assert not verifies(secret, body, {**headers, "webhook-id": "evt_0"})
        assert not verifies(secret, body, {**headers, "webhook-timestamp": "1"})
    event = json.loads(body)
    assert event["type"] == event["data"]["type"] == "user.updated"
    assert event["timestamp"] == event["data"]["at"]
    assert headers["webhook-id"] == f"evt_{event['data']['id']}"
print("all checks passed")
