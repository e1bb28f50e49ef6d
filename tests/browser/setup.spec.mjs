// Set-up and settings in a real browser: every section passes axe at three widths, light and dark, without an error
// in the console; the checklist is walked by keyboard alone; demo data comes and goes.
//
// PAGES_URL, PAGES_EMAIL and PAGES_PASSWORD say where and who; the last test wants an empty data file.
import { expect, test } from "@playwright/test";
import AxeBuilder from "@axe-core/playwright";
import { base, comeIn as enter, tabTo } from "./shell.mjs";

const sections = ["setup", "twilio", "senders", "topics", "keywords", "first-message", "quiet-hours", "prices", "delivery", "retention", "backup", "demo"];

test.describe.configure({ mode: "serial" });

for (const [width, colorScheme] of [[390, "light"], [768, "dark"], [1440, "light"], [1440, "dark"]]) {
  test(`every section is accessible at ${width}, ${colorScheme}`, async ({ browser }) => {
    test.setTimeout(120_000);
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
    const page = await context.newPage();
    const errors = [];
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    page.on("pageerror", (error) => errors.push(error.message));
    await enter(page);
    for (const section of sections) {
      await page.goto(`${base}/admin/settings/${section}`);
      const found = await new AxeBuilder({ page }).analyze();
      const said = found.violations.map((v) => `${section}: ${v.id} ${v.nodes.map((node) => node.target).join(" | ")}`);
      expect(said).toEqual([]);
      const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      expect(sideways, `${section} scrolls sideways`).toBeLessThanOrEqual(0);
    }
    expect(errors).toEqual([]);
    await context.close();
  });
}

test("the current step is filled in by keyboard alone, and a refusal stands beside its field", async ({ page }) => {
  await enter(page);
  await page.goto(`${base}/admin/settings/senders`);
  await tabTo(page, page.getByLabel("Number, or MG"));
  await page.keyboard.type("pigeon");
  await tabTo(page, page.getByRole("button", { name: "Add sender" }));
  await page.keyboard.press("Enter");
  const field = page.getByLabel("Number, or MG");
  await expect(field).toHaveAttribute("aria-invalid", "true");
  await expect(field).toHaveValue("pigeon");
  await expect(page.getByRole("alert")).toBeFocused();
});

test("demo data comes with a banner and goes again", async ({ page }) => {
  await enter(page);
  await page.goto(`${base}/admin/settings/setup`);
  const load = page.getByRole("button", { name: "Load the demo data" });
  test.skip((await load.count()) === 0, "the data file is not empty");
  await load.click();
  await expect(page.getByText("SIMULATOR", { exact: true })).toBeVisible();
  await expect(async () => {
    await page.goto(`${base}/admin/settings/setup`);
    await expect(page.getByText("996 people are here.")).toBeVisible({ timeout: 500 });
  }).toPass({ timeout: 30_000 });
  await page.getByRole("button", { name: /Test (now|again)/ }).click();
  await expect(page.getByText("signatures fit on arrival")).toBeVisible();
  await page.getByRole("link", { name: "Remove the demo data…" }).click();
  await page.getByRole("button", { name: /^Remove 996 people/ }).click();
  await expect(page.getByText("The demo data is gone.")).toBeVisible();
  await expect(page.getByText("SIMULATOR", { exact: true })).toHaveCount(0);
});
