"""The simulator's answers against Twilio's OpenAPI documents."""

import base64
import json
import os
import pathlib
import urllib.parse
import urllib.request

from openapi_schema_validator import OAS30Validator

BASE = os.environ["SIMULATOR_URL"]
ACCOUNT = os.environ["ACCOUNT_SID"]
TOKEN = os.environ["AUTH_TOKEN"]
DATA = pathlib.Path(__file__).parent.parent / "data"
ROOT = "/2010-04-01/Accounts/{AccountSid}"
SENDER = "+15005550006"
ALICE = "+14155550101"

spec = json.loads((DATA / "messages_openapi.json").read_text(encoding="utf-8"))
basic = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
checked = set()


def resolved(schema):
    """The schema with its references put in, and closed: a field that Twilio does not document
    is a fault of ours."""
    if isinstance(schema, list):
        return [resolved(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        return resolved(spec["components"]["schemas"][name])
    schema = {key: resolved(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        schema["additionalProperties"] = False
        schema["required"] = sorted(schema["properties"])
    return schema


def call(method, path, template, form=None):
    """Calls the simulator and validates the answer by the operation at `template`."""
    data = None if form is None else urllib.parse.urlencode(form).encode()
    return send(method, path, template, data, "application/x-www-form-urlencoded")


def send(method, path, template, data, content_type):
    headers = {"Authorization": f"Basic {basic}"}
    if data is not None:
        headers["Content-Type"] = content_type
    request = urllib.request.Request(BASE + path, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request) as answer:
        status, body = str(answer.status), answer.read()
    response = spec["paths"][template][method.lower()]["responses"][status]
    checked.add((method, template))
    if "content" not in response:
        assert body == b"", body
        return None
    schema = resolved(response["content"]["application/json"]["schema"])
    answer = json.loads(body)
    faults = [f"{list(e.path)}: {e.message}" for e in OAS30Validator(schema).iter_errors(answer)]
    assert not faults, (method, path, faults)
    return answer


def messages_path(tail=".json"):
    return f"/2010-04-01/Accounts/{ACCOUNT}/Messages{tail}"


created = [
    call("POST", messages_path(), f"{ROOT}/Messages.json", form)
    for form in (
        {"To": ALICE, "From": SENDER, "Body": "Hello 👍"},
        {"To": ALICE, "MessagingServiceSid": "MG" + "0" * 32, "Body": "by service"},
        {"To": ALICE, "From": SENDER, "MediaUrl": "https://e.example/a.jpg"},
        {"To": "whatsapp:+94771234567", "From": "whatsapp:+14155238886", "Body": "free"},
    )
]
inbound = json.dumps({"from": ALICE, "to": SENDER, "body": "Hi"}).encode()
urllib.request.urlopen(urllib.request.Request(BASE + "/_control/inbound", data=inbound)).close()

for message in created:
    call("GET", messages_path(f"/{message['sid']}.json"), f"{ROOT}/Messages/{{Sid}}.json")
for query in ("", "?PageSize=2", "?To=%2B19999999999", "?DateSent%3E=2020-01-01"):
    page = call("GET", messages_path(".json" + query), f"{ROOT}/Messages.json")
    while page["next_page_uri"]:
        page = call("GET", page["next_page_uri"], f"{ROOT}/Messages.json")

sid = created[0]["sid"]
call("POST", messages_path(f"/{sid}.json"), f"{ROOT}/Messages/{{Sid}}.json", {"Body": ""})
call(
    "GET",
    messages_path(f"/{created[2]['sid']}/Media.json"),
    f"{ROOT}/Messages/{{MessageSid}}/Media.json",
)
call("DELETE", messages_path(f"/{sid}.json"), f"{ROOT}/Messages/{{Sid}}.json")
call("GET", f"/2010-04-01/Accounts/{ACCOUNT}.json", "/2010-04-01/Accounts/{Sid}.json")

# The Content API has a document of its own.
messages_spec, spec = spec, json.loads((DATA / "content_openapi.json").read_text(encoding="utf-8"))


def content(method, path, template, body=None):
    """Calls the Content API, the body too checked by the document."""
    data = None
    if body is not None:
        schema = spec["paths"][template]["post"]["requestBody"]["content"]["application/json"]
        faults = list(OAS30Validator(resolved_request(schema["schema"])).iter_errors(body))
        assert not faults, faults
        data = json.dumps(body).encode()
    return send(method, path, template, data, "application/json")


def resolved_request(schema):
    """The schema with its references put in, and nothing more: fields may be left out."""
    if isinstance(schema, list):
        return [resolved_request(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        return resolved_request(spec["components"]["schemas"][name])
    return {key: resolved_request(value) for key, value in schema.items()}


def relative(link):
    assert link.startswith(BASE), link
    return link.removeprefix(BASE)


made = content(
    "POST",
    "/v1/Content",
    "/v1/Content",
    {
        "friendly_name": "made here",
        "language": "en",
        "variables": {"1": "Ana"},
        "types": {"twilio/text": {"body": "Hello {{1}}, we are glad to see you."}},
    },
)
item = f"/v1/Content/{made['sid']}"
content("GET", item, "/v1/Content/{Sid}")
content("GET", f"{item}/ApprovalRequests", "/v1/Content/{Sid}/ApprovalRequests")
content(
    "POST",
    f"{item}/ApprovalRequests/whatsapp",
    "/v1/Content/{ContentSid}/ApprovalRequests/whatsapp",
    {"name": "made_here", "category": "UTILITY"},
)
content("GET", f"{item}/ApprovalRequests", "/v1/Content/{Sid}/ApprovalRequests")
for listed in ("/v1/Content", "/v1/ContentAndApprovals"):
    page = content("GET", f"{listed}?PageSize=2", listed)
    while page["meta"]["next_page_url"]:
        page = content("GET", relative(page["meta"]["next_page_url"]), listed)
    assert page["contents"][-1]["sid"] == made["sid"], page
content("DELETE", item, "/v1/Content/{Sid}")
spec = messages_spec

# A validator that lets anything pass would prove nothing.
message = call("GET", messages_path(f"/{created[1]['sid']}.json"), f"{ROOT}/Messages/{{Sid}}.json")
schema = resolved(spec["components"]["schemas"]["api.v2010.account.message"])
for field, wrong in (("num_segments", 1), ("error_code", "1"), ("status", "gone"), ("extra", 1)):
    assert list(OAS30Validator(schema).iter_errors({**message, field: wrong})), field
assert len(checked) == 14, checked
print("all checks passed")
