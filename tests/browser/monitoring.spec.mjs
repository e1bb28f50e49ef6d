// Monitoring in a browser: plots that stay drawn while their tables change, a list that can be paused.
import { AxeBuilder } from "@axe-core/playwright";
import { expect, test } from "@playwright/test";
import { enter, quiet } from "./shell.mjs";

const PAGES = ["/admin/monitoring", "/admin/monitoring/events", "/admin/monitoring/webhooks", "/admin/search?q=415"];

for (const width of [390, 768, 1440]) {
  for (const theme of ["light", "dark"]) {
    test(`monitoring and search fit ${width} pixels, ${theme}`, async ({ browser }) => {
      test.setTimeout(120000);
      const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: theme });
      const page = await enter(context);
      const noise = quiet(page);
      for (const path of PAGES) {
        await page.goto(path);
        expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), path).toBe(true);
        const found = await new AxeBuilder({ page }).analyze();
        expect(found.violations.map((one) => `${path} ${one.id}: ${one.nodes[0].html}`)).toEqual([]);
      }
      expect(noise).toEqual([]);
      await context.close();
    });
  }
}

test("four plots are drawn, follow the arrow keys, and keep canvas and open table over a swap", async ({ context }) => {
  test.setTimeout(60000);
  const page = await enter(context);
  await page.goto("/admin/monitoring");
  await expect(page.locator("figure[data-plot] canvas")).toHaveCount(4);
  await page.locator("#table-rate summary").click();
  // A part with the focus inside keeps still.
  await page.evaluate(() => document.activeElement.blur());
  const rows = page.locator("#table-rate tbody tr");
  await expect(rows.first()).toBeVisible({ timeout: 25000 });
  const canvas = await page.locator("#plot-rate canvas").elementHandle();
  const before = await page.locator("#table-rate tbody").textContent();
  await expect(page.locator("#table-rate tbody")).not.toHaveText(before, { timeout: 25000 });
  expect(await canvas.evaluate((one) => one.isConnected)).toBe(true);
  expect(await page.locator("#table-rate").evaluate((one) => one.open)).toBe(true);
  await page.locator("#plot-rate").focus();
  await page.keyboard.press("ArrowLeft");
  await expect(page.locator("#plot-rate [data-when]")).toHaveText(/^\d\d:\d\d:\d\d$/);
  await page.keyboard.press("Escape");
  await expect(page.locator("#plot-rate [data-when]")).toHaveText("15 minutes");
});

test("the list of events is filtered by its address and can be paused", async ({ context }) => {
  const page = await enter(context);
  await page.goto("/admin/monitoring/events");
  await page.getByLabel("Kind").selectOption("system");
  await page.getByRole("button", { name: "Show" }).click();
  await expect(page).toHaveURL(/group=system/);
  await expect(page.getByLabel("Kind")).toHaveValue("system");
  const pause = page.getByRole("button", { name: "Pause the list" });
  await pause.click();
  await expect(pause).toHaveAttribute("aria-pressed", "true");
  await expect(page.locator("#events")).toHaveAttribute("data-paused", "");
  await pause.click();
  await expect(pause).toHaveAttribute("aria-pressed", "false");
});
