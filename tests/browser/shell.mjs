// What the specs of the shell share: somebody logged in, and ears for the console.

/// A page of somebody who is logged in. Address and operator come from the environment.
export async function enter(context) {
  const page = await context.newPage();
  const base = process.env.PAGES_URL ?? "http://127.0.0.1:8080";
  await page.goto(new URL("/admin/login", base).href);
  if (page.url().includes("/login")) await login(page);
  // Paths alone lead to the same server, whatever the runner's configuration says.
  const goto = page.goto.bind(page);
  page.goto = (path, options) => goto(new URL(path, base).href, options);
  return page;
}

/// Everything that the console and the policy complain about from now on.
export function quiet(page) {
  const noise = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) noise.push(message.text());
  });
  page.on("pageerror", (error) => noise.push(error.message));
  return noise;
}

/// In by the form.
async function login(page) {
  await page.getByLabel("E-mail").fill(process.env.PAGES_EMAIL ?? "admin@example.com");
  await page.getByLabel("Password").fill(process.env.PAGES_PASSWORD ?? "correct horse battery");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL((url) => !url.pathname.startsWith("/admin/login"));
}
