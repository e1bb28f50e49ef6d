// One engine, Debian's Chromium; where it is, CHROMIUM may say. Widths and themes are set by the specs themselves.
import { defineConfig } from "@playwright/test";

const output = process.env.BROWSER_OUTPUT ?? "../../target/browser";

export default defineConfig({
  testDir: ".",
  workers: 1,
  retries: 0,
  timeout: 90_000,
  expect: { timeout: 15_000 },
  reporter: [["line"]],
  outputDir: output,
  globalSetup: "./session.mjs",
  use: {
    browserName: "chromium",
    locale: "en-US",
    timezoneId: "America/Los_Angeles",
    viewport: { width: 1440, height: 900 },
    screenshot: "only-on-failure",
    storageState: `${output}-session.json`,
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: ["--no-sandbox", "--disable-dev-shm-usage"],
    },
  },
});
