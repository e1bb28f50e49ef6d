// Segments in a real browser: the builder with its live count and suggestions, JSON both ways, by mouse, by keyboard
// alone, without scripts, and on three widths in light and dark.
import { test, expect } from "@playwright/test";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const base = process.env.PAGES_URL ?? "http://127.0.0.1:8080";
const email = process.env.PAGES_EMAIL ?? "admin@example.com";
const password = process.env.PAGES_PASSWORD ?? "correct horse battery";
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// A name of this run alone: the file of the server may be an old one.
const run = String(Date.now() % 1_000_000);

async function enter(page) {
  await page.goto(`${base}/admin/login`);
  if (!page.url().includes("/login")) return;
  await page.fill("input[name=email]", email);
  await page.fill("input[name=password]", password);
  await page.keyboard.press("Enter");
  await page.waitForURL((url) => !url.pathname.endsWith("/login"));
}

function watch(page) {
  page.faults = [];
  page.on("console", (message) => message.type() === "error" && page.faults.push(message.text()));
  page.on("pageerror", (error) => page.faults.push(error.message));
}

// A refused form is an answer of the 400s, which the console of the browser notes by itself.
const own = (page) => page.faults.filter((text) => !/status of 4(09|12|22)/.test(text));

test.beforeEach(async ({ page }) => {
  watch(page);
  await enter(page);
});

test.afterEach(async ({ page }) => {
  expect(own(page)).toEqual([]);
});

async function violations(page) {
  // Not by eval, which the policy of the page refuses.
  await page.evaluate(axe);
  return page.evaluate(async () => {
    const found = await window.axe.run(document, { resultTypes: ["violations"] });
    return found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`);
  });
}

test("rules are built, counted as they change, turned into JSON and back, and saved", async ({ page }) => {
  await page.goto(`${base}/admin/segments/new`);
  await expect(page.locator("#count .figure")).toBeVisible();
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
  watch(page);
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
  expect(own(page)).toEqual([]);
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
