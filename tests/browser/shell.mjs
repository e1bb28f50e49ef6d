// What the specs share: where the server is, somebody logged in, ears for the console, and axe.
import AxeBuilder from "@axe-core/playwright";

function needed(name) {
  // Specs write: they never guess which server they may write to.
  if (!process.env[name]) throw new Error(`${name} is not set; tests/browser/README.md tells what it is`);
  return process.env[name];
}

/// The server under test, and its admin.
export const base = needed("PAGES_URL");
export const email = process.env.PAGES_EMAIL ?? "admin@example.com";
export const password = process.env.PAGES_PASSWORD ?? "correct horse battery";

/// In by the form, unless the session of all specs is there already.
export async function comeIn(page) {
  await page.goto(`${base}/admin/login`);
  if (!page.url().includes("/login")) return;
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL((url) => !url.pathname.startsWith("/admin/login"));
}

/// A page of somebody who is logged in, for which paths alone lead to the server under test.
export async function enter(context) {
  const page = await context.newPage();
  await comeIn(page);
  const goto = page.goto.bind(page);
  page.goto = (path, options) => goto(new URL(path, base).href, options);
  return page;
}

/// Everything that the console and the policy complain about from now on. A refused form is an answer of the 400s,
/// which the console of the browser notes by itself.
export function quiet(page) {
  const noise = [];
  page.on("console", (message) => {
    const isRefusal = /status of 4(09|12|13|22)/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !isRefusal) noise.push(message.text());
  });
  page.on("pageerror", (error) => noise.push(error.message));
  return noise;
}

/// What axe finds, with its best practices.
export async function violations(page) {
  const found = await new AxeBuilder({ page }).analyze();
  return found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).join(", ")}`);
}

/// Presses Tab until the wanted element has the focus: it can be reached without a mouse.
export async function tabTo(page, locator) {
  for (let steps = 0; steps < 150; steps += 1) {
    if (await locator.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  throw new Error("it can't be reached by Tab");
}
