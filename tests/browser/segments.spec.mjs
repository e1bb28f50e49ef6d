// Segments in a real browser: the builder with its live count and suggestions, JSON both ways, by mouse, by keyboard
// alone, without scripts, and on three widths in light and dark.
import { test, expect } from "@playwright/test";
import { base, comeIn as enter, quiet, violations } from "./shell.mjs";

// A name of this run alone: the file of the server may be an old one.
const run = String(Date.now() % 1_000_000);

test.beforeEach(async ({ page }) => {
  page.faults = quiet(page);
  await enter(page);
});

test.afterEach(async ({ page }) => {
  expect(page.faults).toEqual([]);
});

test("rules are built, counted as they change, turned into JSON and back, and saved", async ({ page }) => {
  await page.goto(`${base}/admin/segments/new`);
  await expect(page.locator("#count")).toContainText("Everybody, until a rule says whom you mean.");
  await page.getByLabel("Name", { exact: true }).fill(`Boston ${run}`);
  await page.getByLabel("Attribute, rule 1").fill("city");
  await page.getByLabel("Attribute, rule 1").press("Tab");
  await page.getByLabel("Value, rule 1").focus();
  await expect(page.locator("#values-1 option[value=Boston]")).toHaveCount(1);
  await page.getByLabel("Value, rule 1").fill("Boston");
  await expect(page.locator("#count .figure")).not.toHaveText(/^\s*0 /);

  await page.getByRole("button", { name: "Add group", exact: true }).click();
  await page.getByLabel("Attribute, rule 3").fill("points");
  await page.getByLabel("Attribute, rule 3").press("Tab");
  await expect(page.getByLabel("Comparison, rule 3")).toHaveValue("number_is");
  await page.getByLabel("Comparison, rule 3").selectOption("at_least");
  await page.getByLabel("Value, rule 3").fill("many");
  await expect(page.locator("#count")).toContainText("is no number");
  await page.getByLabel("Value, rule 3").fill("500");
  await expect(page.locator("#count .figure")).toBeVisible();

  await page.getByRole("button", { name: "JSON" }).click();
  const field = page.getByLabel("Definition");
  await expect(field).toHaveValue(/"gte"/);
  const text = await field.inputValue();
  await field.fill(text.replace('"gte"', '"gtee"'));
  await page.locator("#count").getByRole("button", { name: "Line 12" }).click();
  expect(await page.evaluate(() => getSelection().toString())).toContain("gtee");
  await field.fill(text);
  await page.getByRole("button", { name: "Rules" }).click();
  await expect(page.getByLabel("Value, rule 3")).toHaveValue("500");

  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByText(`Saved “Boston ${run}”.`)).toBeVisible();
  await expect(page.getByLabel("Value, rule 1")).toHaveValue("Boston");
  await page.getByRole("link", { name: "Delete…" }).click();
  await page.getByRole("button", { name: "Delete this segment" }).click();
  await expect(page).toHaveURL(/\/admin\/segments$/);
});

test("by keyboard alone", async ({ page }) => {
  await page.goto(`${base}/admin/segments/new`);
  await expect(page.locator("#count .figure")).toBeVisible();
  await page.getByLabel("Name", { exact: true }).focus();
  await page.keyboard.type(`By keys ${run}`);
  // Past the tab of JSON and the two choices to the attribute.
  for (let i = 0; i < 4; i += 1) await page.keyboard.press("Tab");
  await page.keyboard.type("city");
  await page.keyboard.press("Tab");
  await page.waitForResponse((answer) => answer.url().endsWith("/segments/build"));
  await expect(page.getByLabel("Comparison, rule 1")).toBeFocused();
  await page.keyboard.press("Tab");
  await page.keyboard.type("Boston");
  // Enter counts; it neither saves nor presses another button.
  await page.keyboard.press("Enter");
  await expect(page.locator("#count .figure")).not.toHaveText(/^\s*0 /);
  await expect(page).toHaveURL(/\/segments\/new$/);
  await page.getByRole("button", { name: "Save" }).focus();
  await page.keyboard.press("Enter");
  await expect(page.getByText(`Saved “By keys ${run}”.`)).toBeVisible();
});

test("without scripts", async ({ browser }) => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  page.faults = quiet(page);
  await enter(page);
  await page.goto(`${base}/admin/segments/new`);
  await page.getByLabel("Name", { exact: true }).fill(`Plain ${run}`);
  await page.getByLabel("Attribute, rule 1").fill("city");
  await page.getByLabel("Value, rule 1").fill("Boston");
  await page.getByRole("button", { name: "Count" }).click();
  await expect(page.locator("#count .figure")).not.toHaveText(/^\s*0 /);
  await page.getByRole("button", { name: "Add rule", exact: true }).click();
  await page.getByLabel("About, rule 2").selectOption("consent");
  await page.getByRole("button", { name: "Show the fields that fit" }).click();
  await page.getByLabel("Value, rule 2").selectOption("opt_in");
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
      for (const path of ["", "/new?attribute=city", "/attributes"]) {
        await page.goto(`${base}/admin/segments${path}`);
        await page.waitForLoadState("networkidle");
        expect(await violations(page), path).toEqual([]);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        expect(wide, `${path} scrolls sideways`).toBeLessThanOrEqual(0);
      }
    });
  }
}
