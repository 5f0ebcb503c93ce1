// A host whose server accepts only client credentials: it configures the server as the conformance
// suite specifies, and lists its tools through the bridge.
// Run as `program.mjs POSTERN HOME CONFIG`; the suite adds the URL of its server.

import { execFileSync, spawn } from "node:child_process";
import { appendFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [postern, home, config, url] = process.argv.slice(2);
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT);

function proof() {
  if (context.private_key_pem === undefined) {
    const input = context.client_secret;
    execFileSync(postern, ["secrets", "set", "program", "--home", home], { input });
    return `client_secret = { secret = "program" }`;
  }
  const key = `${home}/key.pem`;
  writeFileSync(key, context.private_key_pem);
  // Only Entra needs the certificate.
  return `certificate = { cert = "${key}", key = "${key}" }`;
}

const auth = `kind = "client-credentials", client_id = "${context.client_id}", ${proof()}`;
appendFileSync(config, `[servers.one]\nurl = "${url}"\nauth = { ${auth} }\n`);

const shim = spawn(postern, ["connect", "one", "--home", home], { stdio: ["pipe", "pipe", "inherit"] });
const lines = createInterface({ input: shim.stdout })[Symbol.asyncIterator]();
const say = (message) => shim.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);

async function ask(id, method, params) {
  say({ id, method, params });
  for (;;) {
    const { value, done } = await lines.next();
    if (done) throw new Error("the shim ended");
    const message = JSON.parse(value);
    if (message.id !== id) continue;
    if (message.error) throw new Error(value);
    return message.result;
  }
}

const clientInfo = { name: "a program", version: "1.0.0" };
await ask(1, "initialize", { protocolVersion: "2025-11-25", capabilities: {}, clientInfo });
say({ method: "notifications/initialized" });
await ask(2, "tools/list", {});
shim.stdin.end();
