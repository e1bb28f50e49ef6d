// Templates in a real browser: the phone follows the typing, what doubles the price is named and mended, a test is
// sent; by mouse, by keyboard alone, without scripts, and on three widths in light and dark.
import { test, expect } from "@playwright/test";
import { base, comeIn as enter, quiet, violations } from "./shell.mjs";

const run = String(Date.now() % 1_000_000);

test.beforeEach(async ({ page }) => {
  page.faults = quiet(page);
  await enter(page);
});

test.afterEach(async ({ page }) => {
  expect(page.faults).toEqual([]);
});

test("the phone follows the typing, and what makes a text dear is named and mended", async ({ page }) => {
  await page.goto(`${base}/admin/templates/new`);
  await page.getByLabel("Name", { exact: true }).or(page.locator("#f-name")).first().fill(`Kettle ${run}`);
  const body = page.getByLabel("Text", { exact: true });
  await body.fill("Hi ");
  await page.getByRole("button", { name: "city", exact: true }).click();
  await expect(body).toHaveValue("Hi {city}");
  // The newest person may have no city: then the place is marked.
  await expect(page.locator(".phone .filled, .phone mark.missing").first()).toBeVisible();
  await body.pressSequentially(`, it’s on ☕ ${"and on ".repeat(12)}`);
  await expect(page.locator(".phone mark:not(.missing)")).toHaveText(["’", "☕"]);
  await expect(page.locator("#look")).toContainText("UCS-2");
  await expect(page.locator("#look")).toContainText(/\d parts instead of 1/);
  await page.getByRole("button", { name: "Write '" }).click();
  await page.getByRole("button", { name: "Remove", exact: true }).click();
  await expect(page.locator("#look")).toContainText("GSM-7");
  await expect(body).toHaveValue(/it's on {2}and/);
  await body.fill("Hi {nobody_has_this}");
  await expect(page.locator(".phone mark.missing")).toHaveText("{nobody_has_this}");
  await body.fill("Hi {name");
  await expect(page.locator("#look")).toContainText("is missing");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.locator("#e-body")).toContainText("is missing");
  await expect(body).toHaveValue("Hi {name");
  await body.fill('Hi {name|default("you")}');
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByText(`Saved “Kettle ${run}”.`)).toBeVisible();

  const first = await page.locator("#look a").first().textContent();
  await page.getByRole("button", { name: "Another person" }).click();
  await expect(page.locator("#look a").first()).not.toHaveText(first);

  await page.getByRole("link", { name: "Send a test…" }).click();
  await page.locator("#f-to").fill("+1 415 555 0199");
  await page.getByLabel("Type the last four digits").fill("0198");
  await page.getByRole("button", { name: "Send the test" }).click();
  await expect(page.locator("#e-confirm")).toBeVisible();
  await page.getByLabel("Type the last four digits").fill("0199");
  await page.getByRole("button", { name: "Send the test" }).click();
  await expect(page.locator("#sent .st")).toHaveText(/Delivered|Sent|Skipped|Failed|Undelivered/, { timeout: 20_000 });
});

test("by keyboard alone, and a channel changes the fields", async ({ page }) => {
  await page.goto(`${base}/admin/templates/new`);
  await page.locator("#f-name").focus();
  await page.keyboard.type(`Keys ${run}`);
  await page.keyboard.press("Tab");
  await page.keyboard.press("ArrowRight");
  await expect(page.getByLabel("Template at Twilio")).toBeVisible();
  await page.keyboard.press("ArrowLeft");
  await expect(page.getByLabel("Template at Twilio")).toHaveCount(0);
  await page.keyboard.press("Tab");
  await page.keyboard.type("Hello");
  await expect(page.locator(".phone")).toContainText("Hello");
  await page.getByRole("button", { name: "Save" }).focus();
  await page.keyboard.press("Enter");
  await expect(page.getByText(`Saved “Keys ${run}”.`)).toBeVisible();
});

test("without scripts", async ({ browser }) => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  page.faults = quiet(page);
  await enter(page);
  await page.goto(`${base}/admin/templates/new`);
  await page.locator("#f-name").fill(`Plain ${run}`);
  await page.getByLabel("Text", { exact: true }).fill("Tea ☕");
  await page.getByRole("button", { name: "Show how it reads" }).click();
  await expect(page.locator(".phone mark")).toHaveText("☕");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByText(`Saved “Plain ${run}”.`)).toBeVisible();
  expect(page.faults).toEqual([]);
  await context.close();
});

for (const width of [390, 768, 1440]) {
  for (const scheme of ["light", "dark"]) {
    test(`nothing is in the way of anybody at ${width}, ${scheme}`, async ({ page }) => {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme: scheme });
      for (const path of ["", "/new", "/1", "/1/test", "/1/preview", "/content", "/content/new"]) {
        await page.goto(`${base}/admin/templates${path}`);
        await page.waitForLoadState("networkidle");
        expect(await violations(page), path).toEqual([]);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        expect(wide, `${path} scrolls sideways`).toBeLessThanOrEqual(0);
      }
    });
  }
}
