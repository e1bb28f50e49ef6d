// Logs in once for all specs: tries to log in are limited, and specs are many.
import { chromium } from "@playwright/test";
import { comeIn } from "./shell.mjs";

export default async function session(config) {
  const { launchOptions, storageState } = config.projects[0].use;
  const browser = await chromium.launch(launchOptions);
  const page = await browser.newPage();
  await comeIn(page);
  await page.context().storageState({ path: storageState });
  await browser.close();
}
