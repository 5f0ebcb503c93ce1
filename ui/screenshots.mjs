// Screenshots of every page with mock states: `npm run build:mock && node screenshots.mjs FOLDER`.
// Requires Chromium at /usr/bin/chromium or at the path in CHROMIUM.

import { createReadStream, existsSync, mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const ROOT = fileURLToPath(new URL("dist-mock", import.meta.url));
const out = process.argv[2] ?? "shots";

const SHOTS = [
  ["first-run", "servers"],
  ["connected", "servers", (page) => page.getByRole("button", { name: /^snippets/ }).click()],
  ["attention", "servers", (page) => page.getByRole("button", { name: /^wiki/ }).click()],
  ["signed-out", "servers"],
  ["refused", "servers"],
  ["signing-in", "servers"],
  ["entering-code", "servers"],
  ["approving", "servers"],
  ["connected", "consents"],
  ["signed-out", "consents"],
  ["connected", "hosts"],
  ["connected", "settings"],
  ["attention", "settings"],
  ["none", "servers"],
  ["connected", "tool", tryTool],
  ["connected", "diff", addToHost],
  ["connected", "account", changeAccount],
  ["connected", "sign-out", signOut],
  ["first-run", "server-mode", configureServerMode],
];

async function tryTool(page) {
  await page.goto(page.url().replace("#/tool", "#/servers"));
  await page.getByRole("button", { name: /^snippets/ }).click();
  await page.getByRole("button", { name: "Try save_snippet" }).click();
  await page.getByLabel("snippetname").fill("greeting");
  await page.getByRole("textbox", { name: "snippet", exact: true }).fill("fn main() {}");
  await page.getByRole("button", { name: "Run" }).click();
}

async function addToHost(page) {
  await page.goto(page.url().replace("#/diff", "#/hosts"));
  await page.getByRole("button", { name: "Add snippets to Claude Desktop" }).click();
  await page.getByText("Make this change").waitFor();
}

async function changeAccount(page) {
  await page.goto(page.url().replace("#/account", "#/servers"));
  await page.getByRole("button", { name: /^snippets/ }).click();
  await page.getByRole("button", { name: "Change", exact: true }).click();
}

async function signOut(page) {
  await page.goto(page.url().replace("#/sign-out", "#/settings"));
  await page
    .getByRole("button", { name: /^Sign out/ })
    .first()
    .click();
}

async function configureServerMode(page) {
  await page.goto(page.url().replace("#/server-mode", "#/settings"));
  await page.getByRole("button", { name: "Configure…" }).click();
}

const server = createServer((request, response) => {
  const path = normalize(new URL(request.url, "http://x").pathname);
  const file = join(ROOT, path === "/" ? "index.html" : path);
  if (!file.startsWith(ROOT) || !existsSync(file)) return response.writeHead(404).end();
  response.setHeader("Content-Type", TYPES[extname(file)] ?? "application/octet-stream");
  createReadStream(file).pipe(response);
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const base = `http://127.0.0.1:${server.address().port}/`;

mkdirSync(out, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--force-color-profile=srgb"],
});
for (const colorScheme of ["light", "dark"]) {
  const context = await browser.newContext({
    viewport: { width: 960, height: 680 },
    colorScheme,
    reducedMotion: "reduce",
    locale: "en-GB",
  });
  for (const [state, name, act] of SHOTS) {
    const page = await context.newPage();
    page.on("pageerror", (error) => {
      console.error(`${state}-${name}: ${error}`);
      process.exitCode = 1;
    });
    page.on("console", (message) => {
      if (message.type() === "error") console.error(`${state}-${name}: ${message.text()}`);
    });
    await page.goto(`${base}?state=${state}#/${name}`);
    await page.getByRole("main").waitFor();
    await act?.(page);
    await page.waitForTimeout(350);
    await page.screenshot({ path: join(out, `${state}-${name}-${colorScheme}.png`) });
    await page.close();
  }
  await context.close();
}
await browser.close();
server.close();
