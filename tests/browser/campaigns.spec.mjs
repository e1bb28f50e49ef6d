// Campaigns in a real browser: from a new one to its result by keyboard alone, live; every page passes axe at three
// widths, light and dark, without an error in the console and without scrolling sideways.
//
// The server under test has people, a template and a simulator, as `ese demo` makes them; PAGES_URL,
// PAGES_EMAIL and PAGES_PASSWORD say where and who.
import { expect, test } from "@playwright/test";
import AxeBuilder from "@axe-core/playwright";
import { base, comeIn as enter, tabTo } from "./shell.mjs";

function listen(page) {
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(error.message));
  return errors;
}

async function press(page, locator, key = "Enter") {
  await tabTo(page, locator);
  await page.keyboard.press(key);
}

test.describe.configure({ mode: "serial" });

let home;

test("a campaign goes from new to its result by keyboard alone, and its page is live", async ({ page }) => {
  test.setTimeout(180_000);
  const errors = listen(page);
  await enter(page);
  await page.goto(`${base}/admin/campaigns`);
  await press(page, page.getByRole("link", { name: "New campaign" }));
  await tabTo(page, page.getByLabel("Name"));
  await page.keyboard.type("By keyboard");
  await tabTo(page, page.getByLabel("Segment", { exact: true }));
  await page.keyboard.type("Everybody");
  await expect(page.locator("#count")).toContainText("in the segment");
  await press(page, page.getByRole("button", { name: "Next" }));
  await expect(page.locator(".bub")).not.toBeEmpty();
  await press(page, page.getByRole("button", { name: "Next" }));
  await tabTo(page, page.getByLabel("Parts a second"));
  await page.keyboard.type("20");
  await tabTo(page, page.getByLabel("Quiet hours"));
  await page.keyboard.type("None");
  await press(page, page.getByRole("button", { name: "Next" }));
  await expect(page.getByRole("heading", { name: "Who gets it, and who does not" })).toBeVisible();
  const launch = page.getByRole("button", { name: "Launch now" });
  await expect(launch).toBeVisible({ timeout: 30_000 });
  const confirm = page.getByLabel("Type the number of people to confirm");
  if (await confirm.count()) {
    await tabTo(page, confirm);
    await page.keyboard.type((await page.locator("#h-confirm").innerText()).match(/[\d,]+/)[0]);
  }
  await press(page, launch);
  await expect(page.locator("#state")).toContainText(/Launching|Running/);
  home = page.url();

  // It moves without a reload.
  const settled = page.locator("#progress .line");
  await expect(settled).toContainText("settled", { timeout: 20_000 });
  const before = await settled.innerText();
  await expect(settled).not.toHaveText(before, { timeout: 20_000 });
  await press(page, page.getByRole("button", { name: "Pause" }));
  await expect(page.locator("#state")).toContainText("Paused");
  await expect(page.getByText("nobody gets it twice").first()).toBeVisible();
  await press(page, page.getByRole("button", { name: "Resume" }));
  await expect(page.locator("#state")).toContainText("Running");
  await press(page, page.getByRole("link", { name: "change", exact: true }));
  await tabTo(page, page.getByLabel("Parts a second"));
  await page.keyboard.press("Control+A");
  await page.keyboard.type("80");
  await press(page, page.getByRole("button", { name: "Change" }));
  await expect(page.getByText("At most 80 parts a second from now on.")).toBeVisible();
  await expect(page.locator("#state")).toContainText("Finished", { timeout: 120_000 });
  await expect(page.locator("#progress")).toContainText("100 %");
  await expect(page.locator(".plot canvas")).toBeVisible();

  await press(page, page.getByRole("link", { name: "Every person" }));
  const download = page.waitForEvent("download");
  await press(page, page.getByRole("link", { name: "All as CSV" }));
  expect((await download).suggestedFilename()).toMatch(/\.csv$/);
  expect(errors).toEqual([]);
});

test("a double click launches once", async ({ page }) => {
  await enter(page);
  await page.goto(home);
  await page.getByRole("button", { name: "Clone" }).click();
  await page.getByRole("button", { name: "Next" }).click();
  await page.getByRole("button", { name: "Next" }).click();
  await page.getByRole("button", { name: "Next" }).click();
  const launch = page.getByRole("button", { name: "Launch now" });
  await expect(launch).toBeVisible({ timeout: 30_000 });
  const confirm = page.getByLabel("Type the number of people to confirm");
  if (await confirm.count()) await confirm.fill((await page.locator("#h-confirm").innerText()).match(/[\d,]+/)[0]);
  await launch.dblclick();
  await expect(page.locator("#state")).toContainText(/Launching|Running|Finished/);
  await page.getByRole("link", { name: "Cancel…" }).click();
  await page.getByRole("button", { name: "Cancel" }).click();
  await expect(page.locator("#state")).toContainText("Cancelled");
});

test("without scripts the review is a link away, and a page says as of when it is", async ({ browser }) => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await enter(page);
  await page.goto(home);
  await page.getByRole("button", { name: "Clone" }).click();
  await page.goto(page.url().replace("/audience", "/review"));
  await page.getByRole("link", { name: "Work it out" }).click();
  await expect(page.getByRole("button", { name: "Launch now" })).toBeVisible();
  await page.getByRole("link", { name: "Delete…" }).click();
  await page.getByRole("button", { name: "Delete 1 draft" }).click();
  await expect(page.getByText("The draft was deleted.")).toBeVisible();
  await context.close();
});

for (const [width, colorScheme] of [[390, "light"], [768, "dark"], [1440, "light"], [1440, "dark"]]) {
  test(`every page of campaigns is accessible at ${width}, ${colorScheme}`, async ({ browser }) => {
    test.setTimeout(120_000);
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
    const page = await context.newPage();
    const errors = listen(page);
    await enter(page);
    await page.goto(home);
    await page.getByRole("button", { name: "Clone" }).click();
    const draft = page.url().replace("/audience", "");
    const id = home.match(/\d+$/)[0];
    const pages = [
      `${base}/admin/campaigns`, `${base}/admin/campaigns/new`, `${base}/admin/campaigns/compare?ids=${id}`,
      home, `${home}/messages`, `${home}/messages?status=skipped`, `${home}/retry`,
      `${draft}/audience`, `${draft}/message`, `${draft}/schedule`, `${draft}/review?look=1`, `${draft}/delete`,
    ];
    for (const address of pages) {
      await page.goto(address);
      const found = await new AxeBuilder({ page }).analyze();
      const said = found.violations.map((v) => `${address}: ${v.id} ${v.nodes.map((node) => node.target).join(" | ")}`);
      expect(said).toEqual([]);
      const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      expect(sideways, `${address} scrolls sideways`).toBeLessThanOrEqual(0);
    }
    await page.getByRole("button", { name: "Delete 1 draft" }).click();
    expect(errors).toEqual([]);
    await context.close();
  });
}
