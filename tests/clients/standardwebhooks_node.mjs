// The official Node library of Standard Webhooks verifies requests that were posted: on stdin, a list of
// headers, bodies, and secrets with whether each signed.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.CLIENTS_DIR}/package.json`);
const { Webhook } = require("standardwebhooks");

function verifies(secret, body, headers) {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch {
    return false;
  }
}

const cases = JSON.parse(readFileSync(0, "utf8"));
assert.equal(cases.length, 3);
for (const { body, headers, secrets } of cases) {
  for (const [secret, signed] of secrets) {
    assert.equal(verifies(secret, body, headers), signed);
    assert.ok(!verifies(secret, body.replace("user.updated", "user.erased"), headers));
    assert.ok(!verifies(secret, body, { ...headers, "webhook-id": "evt_0" }));
  }
}
console.log("all checks passed");
