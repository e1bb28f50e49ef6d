// Twilio's Node library against the simulator: create, fetch, list, page, cancel, delete, errors,
// retries of 429, and its request validator on the webhooks that were sent.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const { SIMULATOR_URL, ACCOUNT_SID, AUTH_TOKEN, RECEIVER_URL, CLIENTS_DIR } = process.env;
const require = createRequire(join(CLIENTS_DIR, "package.json"));
const twilio = require("twilio");

const SENDER = "+15005550006";
const BOB = "+14155550102";

function client(token = AUTH_TOKEN, options = {}) {
  const made = twilio(ACCOUNT_SID, token, options);
  made.api.baseUrl = SIMULATOR_URL;
  made.content.baseUrl = SIMULATOR_URL;
  return made;
}

async function control(path, body) {
  const request = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  const answer = await fetch(SIMULATOR_URL + path, request);
  assert.equal(answer.status, 200);
  return answer.json();
}

async function waitFor(condition) {
  for (let turn = 0; turn < 500; turn += 1) {
    const found = await condition();
    if (found) return found;
    await pause(10);
  }
  throw new Error("waited five seconds in vain");
}

async function refused(call, status, code) {
  await assert.rejects(call, (error) => {
    assert.deepEqual([error.status, error.code], [status, code]);
    return true;
  });
}

async function messages(api) {
  const made = [];
  for (let number = 0; number < 5; number += 1) {
    made.push(
      await api.messages.create({
        to: BOB,
        from: SENDER,
        body: `Hello ${number} 👍 & é`,
        statusCallback: RECEIVER_URL,
        smartEncoded: true,
      }),
    );
  }
  const first = made[0];
  assert.equal(first.status, "queued");
  assert.equal(first.body, "Hello 0 👍 & é");
  assert.ok(first.dateCreated instanceof Date && !Number.isNaN(first.dateCreated.valueOf()));
  await waitFor(async () => (await api.messages(first.sid).fetch()).status === "delivered");

  const listed = await api.messages.list({ to: BOB, pageSize: 2 });
  assert.deepEqual(
    listed.map((message) => message.sid),
    made.map((message) => message.sid).reverse(),
  );
  const page = await api.messages.page({ to: BOB, pageSize: 2 });
  const next = await page.nextPage();
  assert.deepEqual(
    next.instances.map((message) => message.sid),
    [made[2].sid, made[1].sid],
  );
  const back = await next.previousPage();
  assert.equal(back.instances[0].sid, made[4].sid);
  assert.deepEqual(await api.messages.list({ dateSentBefore: new Date("2020-01-01") }), []);

  assert.equal((await api.messages(first.sid).update({ body: "" })).body, "");
  assert.equal(await api.messages(first.sid).remove(), true);
  await refused(() => api.messages(first.sid).fetch(), 404, 20404);

  const scheduled = await api.messages.create({
    to: BOB,
    messagingServiceSid: `MG${"0".repeat(32)}`,
    body: "later",
    scheduleType: "fixed",
    sendAt: new Date(Date.now() + 3_600_000),
  });
  assert.equal(scheduled.status, "scheduled");
  const canceled = await api.messages(scheduled.sid).update({ status: "canceled" });
  assert.equal(canceled.status, "canceled");
}

async function errors(api) {
  await refused(() => api.messages.create({ to: "nobody", from: SENDER, body: "x" }), 400, 21211);
  await refused(() => client("wrong").messages.list(), 401, 20003);
  await control("/_control/faults", { rate_429_percent: 100, count: 1 });
  const patient = client(AUTH_TOKEN, { autoRetry: true });
  const message = await patient.messages.create({ to: BOB, from: SENDER, body: "retried" });
  assert.equal(message.body, "retried");
  await control("/_control/faults", {});
}

async function content(api) {
  const contents = await api.content.v1.contents.list({ pageSize: 2 });
  assert.equal(contents.length, 4);
  const approvals = await api.content.v1.contentAndApprovals.list();
  assert.equal(approvals[3].approvalRequests.status, "pending");
  const approval = await api.content.v1.contents(contents[0].sid).approvalFetch().fetch();
  assert.equal(approval.whatsapp.status, "approved");
}

async function signatures() {
  const inbound = { from: BOB, to: SENDER, body: "Grüße & 👍" };
  assert.equal((await control("/_control/inbound", inbound)).status, 200);
  const sent = await waitFor(async () => {
    const { callbacks } = await control("/_control/callbacks");
    return new Set(callbacks.map((record) => record.kind)).size === 2 && callbacks;
  });
  for (const { url, params, signature } of sent) {
    const form = Object.fromEntries(params);
    assert.ok(twilio.validateRequest(AUTH_TOKEN, signature, url, form));
    assert.ok(!twilio.validateRequest(AUTH_TOKEN, signature, url, { ...form, Body: "forged" }));
  }
}

const api = client();
await messages(api);
await errors(api);
await content(api);
await signatures();
console.log("all checks passed");
