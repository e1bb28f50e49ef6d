// The dashboard in a browser: live parts, plots, keys, and what every page must be: no violation that axe finds, nothing in
// the console, no sideways scroll, at three widths, light and dark.
import { AxeBuilder } from "@axe-core/playwright";
import { expect, test } from "@playwright/test";
import { enter, quiet } from "./shell.mjs";

for (const width of [390, 768, 1440]) {
  for (const theme of ["light", "dark"]) {
    test(`the dashboard fits ${width} pixels, ${theme}`, async ({ browser }) => {
      test.setTimeout(120000);
      const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: theme });
      const page = await enter(context);
      const noise = quiet(page);
      await page.goto("/admin");
      await expect(page.getByRole("heading", { level: 1 })).toHaveText("Dashboard");
      await expect(page.locator("[data-live-word]").first()).toHaveText("Live");
      expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
      const found = await new AxeBuilder({ page }).analyze();
      expect(found.violations.map((one) => `${one.id}: ${one.nodes[0].html}`)).toEqual([]);
      expect(noise).toEqual([]);
      await context.close();
    });
  }
}

test("what happens appears without a reload, and a part with the focus inside keeps still", async ({ context }) => {
  const page = await enter(context);
  await page.goto("/admin");
  await expect(page.locator("[data-live-word]").first()).toHaveText("Live");
  const events = page.locator("#events ul");
  const before = await events.textContent();
  await page.locator("#events .foot a").focus();
  // Something happens: a person is added in another tab.
  const other = await context.newPage();
  await other.goto(new URL("/admin/users/new", page.url()).href);
  await other.locator("main [name=phone]").fill("+1415555" + String(Date.now()).slice(-4));
  await other.locator("main form:has([name=phone])").evaluate((form) => form.requestSubmit());
  await other.waitForLoadState();
  await page.waitForTimeout(2500);
  expect(await events.textContent()).toBe(before);
  await page.evaluate(() => document.activeElement.blur());
  await expect(events).not.toHaveText(before, { timeout: 5000 });
});

test("a lost connection is told after five seconds and found again", async ({ context }) => {
  const page = await enter(context);
  await page.route("**/admin/live/dashboard", (route) => route.abort());
  await page.goto("/admin");
  await expect(page.locator("[data-live-word]").first()).toHaveText("Connection lost, trying again", { timeout: 15000 });
  await page.unroute("**/admin/live/dashboard");
  await page.reload();
  await expect(page.locator("[data-live-word]").first()).toHaveText("Live", { timeout: 15000 });
});

test("single keys lead everywhere and can be switched off for good", async ({ context }) => {
  const page = await enter(context);
  await page.goto("/admin");
  await page.keyboard.press("?");
  const keys = page.locator("#keys");
  await expect(keys).toBeVisible();
  expect((await new AxeBuilder({ page }).include("#keys").analyze()).violations).toEqual([]);
  await page.keyboard.press("Escape");
  await expect(keys).toBeHidden();
  await page.keyboard.press("/");
  await expect(page.locator(".top input[type=search]")).toBeFocused();
  // In a text field a key is a letter.
  await page.keyboard.press("g");
  await page.keyboard.press("m");
  await expect(page).toHaveURL(/\/admin$/);
  await page.locator("h1").click();
  await page.keyboard.press("g");
  await page.keyboard.press("m");
  await expect(page).toHaveURL(/\/admin\/monitoring$/);
  await page.keyboard.press("?");
  await page.getByRole("checkbox").uncheck();
  await page.keyboard.press("Escape");
  await page.reload();
  await page.keyboard.press("g");
  await page.keyboard.press("d");
  await page.waitForTimeout(500);
  await expect(page).toHaveURL(/\/admin\/monitoring$/);
});

test("without scripts the page says as of when, and its tables stay", async ({ browser }) => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await enter(context);
  await page.goto("/admin");
  await expect(page.getByText("As of").first()).toBeVisible();
  await expect(page.getByText("refresh").first()).toBeVisible();
  await context.close();
});
