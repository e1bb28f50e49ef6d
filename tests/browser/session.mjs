// Logs in once for all specs: tries to log in are limited, and specs are many.
import { chromium } from "@playwright/test";

export default async function session(config) {
  const { launchOptions, storageState } = config.projects[0].use;
  const browser = await chromium.launch(launchOptions);
  const page = await browser.newPage();
  await page.goto(`${process.env.PAGES_URL ?? "http://127.0.0.1:8080"}/admin/login`);
  await page.getByLabel("E-mail").fill(process.env.PAGES_EMAIL ?? "admin@example.com");
  await page.getByLabel("Password").fill(process.env.PAGES_PASSWORD ?? "correct horse battery");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL((url) => !url.pathname.startsWith("/admin/login"));
  await page.context().storageState({ path: storageState });
  await browser.close();
}
