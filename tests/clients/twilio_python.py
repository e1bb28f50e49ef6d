"""Twilio's Python library against the simulator: create, fetch, list, page, cancel, delete,
errors, content, and its request validator on the webhooks that were sent."""

import datetime
import json
import os
import time
import urllib.request

from twilio.base.exceptions import TwilioRestException
from twilio.request_validator import RequestValidator
from twilio.rest import Client
from twilio.rest.content.v1.content import ContentList
from twilio.rest.content.v1.content.approval_create import ApprovalCreateList

BASE = os.environ["SIMULATOR_URL"]
ACCOUNT = os.environ["ACCOUNT_SID"]
TOKEN = os.environ["AUTH_TOKEN"]
RECEIVER = os.environ["RECEIVER_URL"]
SENDER = "+15005550006"
ALICE = "+14155550101"


def client(token=TOKEN):
    made = Client(ACCOUNT, token)
    made.api.base_url = BASE
    made.content.base_url = BASE
    return made


def control(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(BASE + path, data=data)) as answer:
        return json.load(answer)


def wait_for(condition):
    for _ in range(500):
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("waited five seconds in vain")


def refused(call, status, code):
    try:
        call()
    except TwilioRestException as error:
        assert (error.status, error.code) == (status, code), error
    else:
        raise AssertionError(f"{code} was not raised")


def messages(twilio):
    made = [
        twilio.messages.create(
            to=ALICE, from_=SENDER, body=f"Hello {number} 👍 & é", status_callback=RECEIVER
        )
        for number in range(5)
    ]
    first = made[0]
    assert first.status == "queued" and first.direction == "outbound-api", first.status
    assert first.body == "Hello 0 👍 & é" and first.num_segments == "1"
    assert isinstance(first.date_created, datetime.datetime)
    assert first.error_code is None and first.price_unit == "USD"

    fetched = wait_for(
        lambda: (lambda m: m if m.status == "delivered" else None)(
            twilio.messages(first.sid).fetch()
        )
    )
    assert fetched.date_sent is not None and fetched.price == "-0.00750"

    listed = twilio.messages.list(to=ALICE, page_size=2)
    assert [m.sid for m in listed] == [m.sid for m in reversed(made)]
    page = twilio.messages.page(to=ALICE, page_size=2)
    assert len(list(page)) == 2
    second = page.next_page()
    assert [m.sid for m in second] == [made[2].sid, made[1].sid]
    assert [m.sid for m in second.previous_page()] == [made[4].sid, made[3].sid]
    day = datetime.datetime(2020, 1, 1)
    assert len(twilio.messages.list(date_sent_after=day)) >= 5
    assert twilio.messages.list(date_sent_before=day) == []
    assert twilio.messages.list(from_="+15005550099") == []

    assert twilio.messages(first.sid).update(body="").body == ""
    assert twilio.messages(first.sid).delete()
    refused(twilio.messages(first.sid).fetch, 404, 20404)


def scheduled(twilio):
    message = twilio.messages.create(
        to=ALICE,
        messaging_service_sid="MG" + "0" * 32,
        body="later",
        schedule_type="fixed",
        send_at=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1),
    )
    assert message.status == "scheduled" and message.from_ is None
    assert message.num_segments == "0"
    assert twilio.messages(message.sid).update(status="canceled").status == "canceled"


def media(twilio):
    message = twilio.messages.create(
        to=ALICE, from_=SENDER, media_url=["https://e.example/a.jpg", "https://e.example/b.jpg"]
    )
    assert message.sid.startswith("MM") and message.num_media == "2"
    assert len(message.media.list()) == 2


def errors(twilio):
    refused(lambda: twilio.messages.create(to="nobody", from_=SENDER, body="x"), 400, 21211)
    refused(lambda: twilio.messages.create(to=ALICE, from_=SENDER, body="a" * 1601), 400, 21617)
    refused(lambda: twilio.messages.create(to="+15005550009", from_=SENDER, body="x"), 400, 21614)
    refused(client("wrong").messages("SM" + "0" * 32).fetch, 401, 20003)
    control("/_control/faults", {"rate_429_percent": 100, "count": 1})
    refused(lambda: twilio.messages.create(to=ALICE, from_=SENDER, body="x"), 429, 20429)
    control("/_control/faults", {})


def content(twilio):
    contents = twilio.content.v1.contents.list(page_size=2)
    assert len(contents) == 4 and contents[0].types["twilio/text"]["body"]
    assert isinstance(contents[0].date_created, datetime.datetime)
    approvals = twilio.content.v1.content_and_approvals.list()
    assert approvals[0].approval_requests["status"] == "approved"
    sid = contents[0].sid
    assert twilio.content.v1.contents(sid).fetch().friendly_name == "order_update"
    assert twilio.content.v1.contents(sid).approval_fetch().fetch().whatsapp["status"] == "approved"
    made = twilio.content.v1.contents.create(
        ContentList.ContentCreateRequest(
            {
                "friendly_name": "python",
                "language": "en",
                "variables": {"1": "Ana"},
                "types": {"twilio/text": {"body": "Hello {{1}}, how are you?"}},
            }
        )
    )
    assert made.types == {"twilio/text": {"body": "Hello {{1}}, how are you?"}}, made.types
    request = ApprovalCreateList.ContentApprovalRequest({"name": "python", "category": "UTILITY"})
    assert twilio.content.v1.contents(made.sid).approval_create.create(request).status == "received"
    control("/_control/content", {"sid": made.sid, "status": "rejected", "reason": "INVALID_FORMAT"})
    whatsapp = twilio.content.v1.contents(made.sid).approval_fetch().fetch().whatsapp
    assert (whatsapp["status"], whatsapp["rejection_reason"]) == ("rejected", "INVALID_FORMAT")
    assert twilio.content.v1.contents(made.sid).delete()
    refused(twilio.content.v1.contents(made.sid).fetch, 404, 20404)
    message = twilio.messages.create(
        to="whatsapp:+94771234567",
        from_="whatsapp:+14155238886",
        content_sid=sid,
        content_variables=json.dumps({"1": "Ana", "2": "B-2"}),
    )
    assert message.body == "Hello Ana, your order B-2 is on its way to you."


def account(twilio):
    assert twilio.api.v2010.accounts(ACCOUNT).fetch().status == "active"


def signatures():
    result = control("/_control/inbound", {"from": ALICE, "to": SENDER, "body": "Grüße & 👍"})
    assert result["status"] == 200, result
    validator = RequestValidator(TOKEN)
    sent = wait_for(
        lambda: (lambda log: log if {r["kind"] for r in log} == {"status", "inbound"} else None)(
            control("/_control/callbacks")["callbacks"]
        )
    )
    for record in sent:
        params = dict(record["params"])
        assert validator.validate(record["url"], params, record["signature"]), record
        params["Body"] = "forged"
        assert not validator.validate(record["url"], params, record["signature"])


twilio = client()
messages(twilio)
scheduled(twilio)
media(twilio)
errors(twilio)
content(twilio)
account(twilio)
signatures()
print("all checks passed")
