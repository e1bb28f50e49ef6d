// Imports in a real browser: a file is dropped, its columns told, its dry run looked at, it comes in, and its
// changes are undone. By mouse, by keyboard alone, and on three widths in light and dark.
import { AxeBuilder } from "@axe-core/playwright";
import { expect, test } from "@playwright/test";
import { base } from "./shell.mjs";

// Numbers of this run alone: the file of the server may be an old one.
const run = String(Date.now() % 1_000_000).padStart(6, "0");
const phone = (n) => `+9477${run}${n}`;

function sheet(city) {
  const rows = [0, 1, 2, 3].map((n) => `${phone(n)},Person ${n},${city},yes`);
  return ["phone,name,city,newsletter", ...rows, "4.15556E+10,Excel,x,yes", ""].join("\n");
}

const file = (name, text) => ({ name, mimeType: "text/csv", buffer: Buffer.from(text) });

test.beforeEach(async ({ page }) => {
  const faults = [];
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(error.message));
  page.faults = faults;
});

test.afterEach(async ({ page }) => {
  // A refused form is an answer of the 400s, which the console of the browser notes by itself.
  const own = page.faults.filter((text) => !/status of 4(13|22)/.test(text));
  expect(own).toEqual([]);
});

async function bringIn(page, name, text) {
  await page.goto(`${base}/admin/imports/new`);
  await page.setInputFiles("input[type=file]", file(name, text));
  await page.getByRole("button", { name: "Upload and look at it" }).click();
  await expect(page).toHaveURL(/\/columns$/);
  await page.locator(".head").getByRole("button", { name: /^Check / }).click();
  // The dry run ends by itself, and the page with it.
  await expect(page.locator(".kpis")).toBeVisible({ timeout: 30_000 });
  await expect(page).toHaveURL(/\/review$/);
}

test("a file is looked at, comes in, and its changes are undone", async ({ page }) => {
  await bringIn(page, "first.csv", sheet("Galle"));
  await expect(page.getByRole("cell", { name: /shortened by Excel. Format the column as text/ })).toBeVisible();
  await page.getByLabel("Where did they agree?").fill("Paper form at the counter");
  await page.getByLabel("In which words?").fill("Yes, send me offers");
  await page.getByRole("button", { name: "Import 4 people" }).click();
  await expect(page.locator("h1")).toContainText("Finished", { timeout: 30_000 });

  await bringIn(page, "second.csv", sheet("Kandy"));
  await expect(page.getByRole("cell", { name: /Galle → Kandy/ }).first()).toBeVisible();
  await page.getByRole("link", { name: "Changed 4" }).click();
  await expect(page.locator(".what tbody tr")).toHaveCount(4);
  await page.getByRole("button", { name: "Import 4 people" }).click();
  await page.getByRole("link", { name: "Undo attribute changes…" }).click({ timeout: 30_000 });
  await page.getByRole("button", { name: "Undo the changes of 4 people" }).click();
  await expect(page.getByText("4 people have their attributes back.")).toBeVisible({ timeout: 30_000 });
});

test("the columns are told by keyboard alone", async ({ page }) => {
  await page.goto(`${base}/admin/imports/new`);
  await page.setInputFiles("input[type=file]", file("keys.csv", sheet("Galle")));
  await page.getByRole("button", { name: "Upload and look at it" }).focus();
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/\/columns$/);
  const use = page.getByLabel("Use city as");
  await use.focus();
  await page.keyboard.type("Leave");
  await expect(use).toHaveValue("skip");
  await expect(page.getByLabel("Attribute name for city")).toBeHidden();
  await page.keyboard.press("Shift+Tab");
  await page.locator(".head").getByRole("button", { name: /^Check / }).focus();
  await page.keyboard.press("Enter");
  await expect(page.locator(".kpis")).toBeVisible({ timeout: 30_000 });
});

test("a file that can't be read is refused beside the field", async ({ page }) => {
  await page.goto(`${base}/admin/imports/new`);
  await page.setInputFiles("input[type=file]", file("letter.pdf", "%PDF-1.7\n"));
  await page.getByRole("button", { name: "Upload and look at it" }).click();
  await expect(page.getByRole("alert")).toContainText("This file is a PDF. Save the sheet as .xlsx or .csv");
});

for (const width of [390, 768, 1440]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`every step fits ${width} pixels and passes axe, ${colorScheme}`, async ({ page }) => {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 1000 });
      const fits = async (what) => {
        const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        expect(over, what).toBeLessThanOrEqual(0);
        const found = await new AxeBuilder({ page }).analyze();
        expect(found.violations.map((one) => `${what} ${one.id}: ${one.nodes[0].html}`)).toEqual([]);
      };
      await page.goto(`${base}/admin/imports/new`);
      await fits("new");
      await page.setInputFiles("input[type=file]", file(`${"long-name-".repeat(12)}.csv`, sheet("Galle")));
      await page.getByRole("button", { name: "Upload and look at it" }).click();
      await fits("columns");
      await page.locator(".head").getByRole("button", { name: /^Check / }).click();
      await expect(page.locator(".kpis")).toBeVisible({ timeout: 30_000 });
      await fits("review");
      await page.goto(`${base}/admin/imports`);
      await fits("list");
    });
  }
}
