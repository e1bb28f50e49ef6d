// The inbox in a real browser: live within a second, the reading position, the draft, answers by mouse, by keyboard
// alone and without scripts, review, and what every page must be at three widths, in light and dark.
// PAGES_SIMULATOR is where the stand-in for Twilio listens, PAGES_SENDER the number that people write to.
import { expect, test } from "@playwright/test";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { base, comeIn as enter } from "./shell.mjs";

const simulator = process.env.PAGES_SIMULATOR ?? "http://127.0.0.1:9010";
const sender = process.env.PAGES_SENDER ?? "+18885550100";
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// Somebody new for every test: the file of the server may be an old one.
let next = Date.now() % 100_000;
const somebody = () => `+1415555${String(1000 + (next++ % 9000)).slice(-4)}`;

/// A person writes.
async function write(from, body, media = []) {
  const answer = await fetch(`${simulator}/_control/inbound`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ from, to: sender, body, media }),
  });
  expect(answer.ok).toBe(true);
}

/// The conversation whose last words are these.
async function open(page, words) {
  await page.goto(`${base}/admin/inbox`);
  await page.locator(".conv a", { hasText: words }).first().click();
  await page.waitForURL(/\/admin\/inbox\/\d+/);
}

const faults = new WeakMap();
test.beforeEach(async ({ page }) => {
  const heard = [];
  faults.set(page, heard);
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && heard.push(message.text()));
  page.on("pageerror", (error) => heard.push(error.message));
  await enter(page);
});
// A refused form is an answer of the 400s, which the browser notes by itself.
test.afterEach(async ({ page }) => {
  expect((faults.get(page) ?? []).filter((text) => !/status of 4(09|22)/.test(text))).toEqual([]);
});

test("a message is there within a second, and does not move what one reads", async ({ page }) => {
  const from = somebody(), mark = `mark ${next}`;
  for (let n = 0; n < 24; n += 1) await write(from, `${n} ${mark}`);
  await open(page, `23 ${mark}`);
  const box = page.locator("#msgs-box");
  await expect(page.locator("[data-live-word]").first()).toHaveText("Live");
  await box.evaluate((one) => { one.scrollTop = one.scrollHeight; });
  const sent = Date.now();
  await write(from, `24 ${mark}`);
  await expect(page.locator(".msgs").getByText(`24 ${mark}`)).toBeInViewport();
  expect(Date.now() - sent).toBeLessThan(2500);
  await box.evaluate((one) => { one.scrollTop = 120; });
  await page.waitForTimeout(100);
  await write(from, `25 ${mark}`);
  const newer = page.getByRole("button", { name: "1 new message ↓" });
  await expect(newer).toBeVisible();
  expect(await box.evaluate((one) => one.scrollTop)).toBe(120);
  await newer.click();
  await expect(page.locator(".msgs").getByText(`25 ${mark}`)).toBeInViewport();
  await expect(newer).toBeHidden();
  await expect(page.locator(".conv li.unread", { hasText: mark })).toHaveCount(0);
});

test("a draft survives a reload, Ctrl+Enter sends it, and e closes: by keyboard alone", async ({ page }) => {
  const from = somebody(), mark = `draft ${next}`;
  await write(from, mark);
  await page.goto(`${base}/admin/inbox`);
  await expect(page.locator("[data-live-word]").first()).toHaveText("Live");
  await page.waitForTimeout(500);
  await page.keyboard.press("j");
  await expect(page.locator(".conv a").first()).toBeFocused();
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/admin\/inbox\/\d+/);
  const box = page.getByLabel("Reply", { exact: true });
  for (let n = 0; n < 60 && !(await box.evaluate((one) => one === document.activeElement)); n += 1) await page.keyboard.press("Tab");
  await page.keyboard.type("A second bag costs 12 dollars");
  await page.reload();
  await expect(box).toHaveValue("A second bag costs 12 dollars");
  await box.focus();
  await page.keyboard.press("Control+End");
  await page.keyboard.type(".");
  await page.keyboard.press("Control+Enter");
  await expect(page.locator(".msgs .o", { hasText: "A second bag costs 12 dollars." })).toHaveCount(1);
  await expect(box).toHaveValue("");
  // What became of it is told without a reload.
  await expect(page.locator(".msgs .o .st", { hasText: /Delivered|Read/ })).toBeVisible({ timeout: 20_000 });
  await page.locator("#msgs-box").focus();
  await page.keyboard.press("e");
  await page.waitForURL(/\/admin\/inbox$/);
  await expect(page.getByText("Closed. It opens again when they write.")).toBeVisible();
  await expect(page.locator(".conv a", { hasText: mark })).toHaveCount(0);
  await write(from, `${mark} again`);
  await expect(page.locator(".conv li.unread a", { hasText: `${mark} again` })).toBeVisible();
});

test("a canned reply goes in where the cursor stands", async ({ page }) => {
  const from = somebody(), mark = `canned ${next}`, name = `Hours ${next}`;
  await write(from, mark);
  await page.goto(`${base}/admin/inbox/replies`);
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Text").fill('Hello {name|default("there")}, we open at 9.');
  await page.getByRole("button", { name: "Add reply" }).click();
  await open(page, mark);
  const box = page.getByLabel("Reply", { exact: true });
  await box.fill("Good morning. ");
  await page.getByRole("button", { name: "Canned reply" }).click();
  await page.getByRole("link", { name }).click();
  await expect(box).toHaveValue("Good morning. Hello there, we open at 9.");
  await expect(box).toBeFocused();
  await page.goto(`${base}/admin/inbox/replies`);
  await page.getByRole("link", { name }).click();
  await page.getByRole("button", { name: "Remove" }).click();
  await expect(page.getByText("Removed.")).toBeVisible();
});

test("after STOP there is nothing to write in, and what was written is kept", async ({ page }) => {
  const from = somebody(), mark = `stop ${next}`;
  await write(from, mark);
  await open(page, mark);
  await page.getByLabel("Reply", { exact: true }).fill("One more thing");
  await write(from, "STOP");
  await expect(page.locator("#inbox-window")).toContainText("STOP");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await expect(page.getByText("Not sent. The person said STOP.")).toBeVisible();
  await expect(page.getByLabel("What you wrote")).toHaveValue("One more thing");
  await expect(page.getByText("Only their own message can reopen this.")).toBeVisible();
});

test("what may be an opt-out is decided with a reason", async ({ page }) => {
  const from = somebody(), mark = `please stop sending ${next}`;
  await write(from, mark);
  await page.goto(`${base}/admin/inbox/review`);
  await page.locator(".conv a", { hasText: mark }).click();
  await page.getByRole("button", { name: "Not an opt-out" }).click();
  await expect(page.getByLabel("Why, for the ledger")).toHaveAttribute("aria-invalid", "true");
  await page.getByLabel("Why, for the ledger").fill("They meant the parcel.");
  await page.getByRole("button", { name: "Not an opt-out" }).click();
  await page.waitForURL(/\/review$/);
  await expect(page.locator(".conv a", { hasText: mark })).toHaveCount(0);
});

test("pictures are shown, other files are saved, and nothing of a stranger runs", async ({ page }) => {
  const from = somebody(), mark = `picture ${next}`;
  await write(from, `${mark}<img src=x onerror=alert(1)>`, ["image/png", "image/svg+xml", "text/html"]);
  await open(page, mark);
  const picture = page.locator(".msgs img");
  await expect(picture).toHaveCount(1);
  await expect.poll(() => picture.evaluate((one) => one.naturalWidth)).toBe(320);
  const download = page.waitForEvent("download");
  await page.getByRole("link", { name: "File, save" }).click();
  expect((await download).suggestedFilename()).toMatch(/^message-\d+-3\.bin$/);
  expect(await page.title()).not.toContain("owned");
});

test("without scripts one reads, answers and closes", async ({ browser }) => {
  const from = somebody(), mark = `plain ${next}`;
  await write(from, mark);
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await enter(page);
  await open(page, mark);
  await page.getByLabel("Reply", { exact: true }).fill("Without scripts");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await expect(page.locator(".msgs .o", { hasText: "Without scripts" })).toHaveCount(1);
  await page.getByRole("button", { name: "Close" }).click();
  await expect(page.getByText("Closed. It opens again when they write.")).toBeVisible();
  await context.close();
});

for (const width of [390, 768, 1440]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`the pages fit ${width} pixels, ${colorScheme}`, async ({ browser }) => {
      const from = somebody(), mark = `wide ${next}`;
      await write(from, `${mark} ${"averyveryverylongword".repeat(12)}`, ["image/png"]);
      await write(somebody(), "please stop sending these");
      const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
      const page = await context.newPage();
      await enter(page);
      await page.goto(`${base}/admin/inbox`);
      const thread = await page.locator(".conv a", { hasText: mark }).first().getAttribute("href");
      const paths = ["/admin/inbox", thread, "/admin/inbox/review", "/admin/inbox?filter=mine", "/admin/inbox/replies", "/admin/inbox/unmatched"];
      for (const path of paths) {
        await page.goto(base + path);
        expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), path).toBe(true);
        // By the protocol: the policy of the page lets in no script of others.
        const found = await page.evaluate(`(() => { ${axe}; return axe.run(); })()`);
        expect(found.violations.map((one) => `${path} ${one.id}: ${one.nodes[0].html}`)).toEqual([]);
      }
      await context.close();
    });
  }
}
