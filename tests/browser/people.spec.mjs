// People in a browser: search as one types, filters and the back button, a person's page, the forms by keyboard, and what
// every page must be: no violation that axe finds, nothing in the console, no sideways scroll, at three widths, light and
// dark. Runs against a server with the demo's people.
import { AxeBuilder } from "@axe-core/playwright";
import { expect, test } from "@playwright/test";
import { enter, quiet } from "./shell.mjs";

/// The newest person of the list, as a path.
async function somebody(page) {
  await page.goto("/admin/users");
  return page.locator("#people tbody th a").first().getAttribute("href");
}

for (const width of [390, 768, 1440]) {
  for (const theme of ["light", "dark"]) {
    test(`pages about people fit ${width} pixels, ${theme}`, async ({ browser }) => {
      const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: theme });
      const page = await enter(context);
      const noise = quiet(page);
      const person = await somebody(page);
      const paths = ["/admin/users", "/admin/users?q=zzzz", "/admin/users?consent=stop", "/admin/users/new",
        "/admin/users/bulk?consent=opt_in", person, ...["edit", "consent", "suppress", "erase", "explain"].map((end) => `${person}/${end}`)];
      for (const path of paths) {
        await page.goto(path);
        await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
        expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), path).toBe(true);
        const found = await new AxeBuilder({ page }).analyze();
        expect(found.violations.map((one) => `${path} ${one.id}: ${one.nodes[0].html}`)).toEqual([]);
      }
      expect(noise).toEqual([]);
      await context.close();
    });
  }
}

test("the list follows the typing, the address follows the list, and back leads back", async ({ context }) => {
  const page = await enter(context);
  const noise = quiet(page);
  await page.goto("/admin/users");
  const first = (await page.locator("#people tbody th a").first().innerText()).trim();
  const word = first.split(" ").at(-1).toLowerCase();
  await page.locator("#q").pressSequentially(word, { delay: 40 });
  await expect(page.locator("#people .chip").first()).toContainText(word);
  await expect(page.locator("#people tbody th a").first()).toContainText(new RegExp(word, "i"));
  await expect(page).toHaveURL(new RegExp(`q=${word}`));
  await expect(page.locator("#q")).toBeFocused();
  await page.getByLabel("Consent", { exact: true }).selectOption("stop");
  await expect(page).toHaveURL(/consent=stop/);
  await page.goBack();
  await expect(page.locator("#q")).toHaveValue(word);
  await page.getByRole("link", { name: "Clear filters" }).first().click();
  await expect(page).toHaveURL(/\/admin\/users$/);
  expect(noise).toEqual([]);
});

test("the list works without scripts", async ({ browser }) => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await enter(context);
  await page.goto("/admin/users");
  await page.locator("#q").fill("zzzz");
  await page.getByRole("button", { name: "Find", exact: true }).click();
  await expect(page).toHaveURL(/\/admin\/users\?q=zzzz$/);
  await expect(page.getByText("No person matches “zzzz”")).toBeVisible();
  await context.close();
});

test("a person is added, changed and explained by keyboard alone", async ({ context }) => {
  const page = await enter(context);
  const noise = quiet(page);
  await page.goto("/admin/users/new");
  const number = `+1415555${String(Date.now()).slice(-4)}`;
  await page.getByLabel("Phone number").focus();
  await page.keyboard.type("12");
  await page.keyboard.press("Enter");
  await expect(page.locator("#e-phone")).toBeVisible();
  await expect(page.getByLabel("Phone number")).toHaveValue("12");
  await page.getByLabel("Phone number").focus();
  await page.keyboard.press("Control+A");
  await page.keyboard.type(number);
  await page.getByLabel("Value of first_name").focus();
  await page.keyboard.type("Keya");
  await page.getByLabel("Phone number").focus();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1 })).toContainText("Keya");
  await page.getByRole("link", { name: "Consent", exact: true }).focus();
  await page.keyboard.press("Enter");
  await expect(page.locator("#timeline")).toContainText("Nothing of this kind yet.");
  await page.getByRole("button", { name: "Ask" }).focus();
  await page.keyboard.press("Enter");
  await expect(page.locator("#why-told")).toContainText("They would not get it.");
  expect(noise).toEqual([]);
});

test("an action on many asks for what it needs and tells how far it came", async ({ context }) => {
  const page = await enter(context);
  const noise = quiet(page);
  await page.goto("/admin/users?consent=stop");
  await page.getByRole("link", { name: /^Do for all/ }).click();
  await expect(page.getByLabel("Attribute", { exact: true })).toBeHidden();
  await page.getByLabel("Set an attribute").check();
  await page.getByLabel("Attribute", { exact: true }).fill("asked");
  await page.getByLabel("Value", { exact: true }).fill("yes");
  await page.getByLabel("Why").fill("A test of the action");
  await page.getByRole("button", { name: /^Do it for/ }).click();
  await expect(page.locator("#bulk")).toContainText("Finished", { timeout: 15000 });
  await expect(page.locator("#bulk")).toContainText("STOP");
  expect(noise).toEqual([]);
});
