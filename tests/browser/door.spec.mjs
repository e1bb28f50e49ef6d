// Who comes in, in a real browser: every page of it passes axe at three widths, light and dark, without an error in
// the console; an operator is invited, sets a password by the link, sets up a second factor and logs in with it, by
// keyboard alone.
//
// The server under test has one admin without a second factor; PAGES_URL, PAGES_EMAIL and PAGES_PASSWORD say
// where and who.
import { createHmac } from "node:crypto";
import { expect, test } from "@playwright/test";
import AxeBuilder from "@axe-core/playwright";
import { base, comeIn, email, password, tabTo } from "./shell.mjs";

// Who brings no session along. Tries to log in are limited, so only what is about coming in begins like that.
const nobody = { storageState: { cookies: [], origins: [] } };

const settings = `${base}/admin/settings`;
const pages = ["profile", "operators", "operators/new", "api-keys", "api-keys/new", "webhook-endpoints", "webhook-endpoints/new", "audit", "audit?what=sender"];

async function enter(page) {
  await page.goto(`${base}/admin/login`);
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL((url) => !url.pathname.startsWith("/admin/login"));
}

// RFC 6238: the code that an authenticator shows.
function code(secret, at = Date.now()) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret.replace(/\s/g, "")].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(at / 30_000)));
  const digest = createHmac("sha1", key).update(counter).digest();
  return String((digest.readUInt32BE(digest[19] & 15) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

async function isSound(page, name) {
  const found = await new AxeBuilder({ page }).analyze();
  expect(found.violations.map((v) => `${name}: ${v.id} ${v.nodes.map((node) => node.target).join(" | ")}`)).toEqual([]);
  const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  expect(sideways, `${name} scrolls sideways`).toBeLessThanOrEqual(0);
}

test.describe.configure({ mode: "serial" });

for (const [width, colorScheme] of [[390, "light"], [768, "dark"], [1440, "light"], [1440, "dark"]]) {
  test(`every page of the door is accessible at ${width}, ${colorScheme}`, async ({ browser }) => {
    test.setTimeout(120_000);
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
    const page = await context.newPage();
    const errors = [];
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    page.on("pageerror", (error) => errors.push(error.message));
    await comeIn(page);
    for (const path of pages) {
      await page.goto(`${settings}/${path}`);
      await isSound(page, path);
    }
    expect(errors).toEqual([]);
    await context.close();
    const outside = await browser.newContext({ ...nobody, viewport: { width, height: 900 }, colorScheme });
    const door = await outside.newPage();
    await door.goto(`${base}/admin/login`);
    await isSound(door, "login");
    await outside.close();
  });
}

test("a wrong password keeps the address and says so once", async ({ browser }) => {
  const context = await browser.newContext(nobody);
  const page = await context.newPage();
  await page.goto(`${base}/admin/login`);
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill("a wrong password");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("alert")).toBeFocused();
  await expect(page.getByRole("alert")).toHaveText(/do not belong together/);
  await expect(page.getByLabel("E-mail")).toHaveValue(email);
  await expect(page.getByLabel("Password")).toHaveValue("");
  await context.close();
});

test("somebody is invited, sets a password and a second factor, and logs in with both, by keyboard alone", async ({ page, browser }) => {
  const invited = `theo-${Date.now()}@example.com`;
  await comeIn(page);
  await page.goto(`${settings}/operators/new`);
  await tabTo(page, page.getByLabel("E-mail"));
  await page.keyboard.type(invited);
  await tabTo(page, page.getByRole("button", { name: "Add and make link" }));
  await page.keyboard.press("Enter");
  const link = await page.getByLabel("Link").inputValue();
  expect(link).toMatch(/\/admin\/setup\/[\w-]{43}$/);
  await isSound(page, "link");

  const context = await browser.newContext({ ...nobody, viewport: { width: 390, height: 844 } });
  const theirs = await context.newPage();
  await theirs.goto(`${base}${new URL(link).pathname}`);
  await isSound(theirs, "setup link");
  for (const label of ["New password", "The same again"]) {
    await tabTo(theirs, theirs.getByLabel(label));
    await theirs.keyboard.type("nine lives of one cat");
  }
  await theirs.keyboard.press("Enter");
  await expect(theirs).toHaveURL(`${base}/admin`);

  await theirs.goto(`${settings}/profile`);
  await tabTo(theirs, theirs.getByRole("button", { name: "Set up second factor" }));
  await theirs.keyboard.press("Enter");
  await expect(theirs.getByRole("img", { name: "QR code with the key below" })).toBeVisible();
  await isSound(theirs, "second factor");
  const secret = await theirs.locator("#totp-key").innerText();
  await tabTo(theirs, theirs.getByRole("textbox", { name: "Code" }));
  await theirs.keyboard.type(code(secret));
  await theirs.keyboard.press("Enter");
  const codes = theirs.locator("#codes li");
  await expect(codes).toHaveCount(10);
  await isSound(theirs, "recovery codes");
  const recovery = await codes.first().innerText();

  const other = await browser.newContext(nobody);
  const again = await other.newPage();
  await again.goto(`${settings}/profile`);
  await again.getByLabel("E-mail").fill(invited);
  await again.getByLabel("Password").fill("nine lives of one cat");
  await again.keyboard.press("Enter");
  await expect(again.getByRole("textbox", { name: "Code" })).toBeVisible();
  await isSound(again, "code");
  await again.getByRole("textbox", { name: "Code" }).fill(recovery);
  await again.keyboard.press("Enter");
  await expect(again).toHaveURL(`${settings}/profile`);
  await expect(again.getByRole("status").filter({ hasText: "9 are left" })).toBeVisible();
  await context.close();
  await other.close();
});

test("a key is shown once, can be copied, and is revoked after a question", async ({ page, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await comeIn(page);
  await page.goto(`${settings}/api-keys/new`);
  const name = `shop ${Date.now()}`;
  await page.getByLabel("Name").fill(name);
  await page.getByRole("checkbox", { name: "read" }).check();
  await page.getByRole("button", { name: "Make key" }).click();
  const secret = await page.getByLabel("Secret").inputValue();
  await page.getByRole("button", { name: "Copy" }).click();
  await expect(page.getByRole("button", { name: "Copied" })).toBeVisible();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(secret);
  await isSound(page, "key made");
  await page.getByRole("link", { name: "I have kept it" }).click();
  expect(await page.content()).not.toContain(secret);
  await page.getByRole("link", { name: `Revoke… ${name}` }).click();
  await isSound(page, "revoke");
  await page.getByRole("button", { name: `Revoke ${name}` }).click();
  await expect(page.getByRole("row", { name: new RegExp(name) })).toContainText("Revoked");
});

test("without scripts one logs in, works and logs out", async ({ browser }) => {
  const context = await browser.newContext({ ...nobody, javaScriptEnabled: false });
  const page = await context.newPage();
  await enter(page);
  await page.goto(`${settings}/profile`);
  await page.getByLabel("Light or dark").selectOption("dark");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await expect(page.getByText("Saved.")).toBeVisible();
  await page.getByLabel("Light or dark").selectOption("auto");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByRole("button", { name: "Log out" }).first().click();
  await expect(page).toHaveURL(`${base}/admin/login`);
  await context.close();
});
