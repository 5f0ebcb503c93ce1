// A host on the official TypeScript SDK that reaches a server by the URL of a socket, as VS Code
// does: the URL's path names the socket, and its fragment is the path of the request.
// Usage: node --input-type=module --eval "$(cat over-socket.mjs)" URL
// in the folder where the packages are installed.

import { request } from "node:http";
import { Readable } from "node:stream";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const url = new URL(process.argv[1]);
const socketPath = decodeURIComponent(url.pathname);

const fetch = (target, { method = "GET", headers, body, signal } = {}) =>
  new Promise((resolve, reject) => {
    const { pathname } = new URL(target);
    const options = { socketPath, path: pathname, method, headers: Object.fromEntries(new Headers(headers)), signal };
    const sent = request(options, (answer) => {
      const empty = [202, 204].includes(answer.statusCode);
      if (empty) answer.resume();
      resolve(
        new Response(empty ? null : Readable.toWeb(answer), {
          status: answer.statusCode,
          headers: answer.headers,
        }),
      );
    });
    sent.on("error", reject);
    sent.end(body);
  });

const client = new Client({ name: "over-socket", version: "1.0.0" });
const endpoint = new URL(url.hash.slice(1), "http://localhost");
await client.connect(new StreamableHTTPClientTransport(endpoint, { fetch }));
const { tools } = await client.listTools();
const hello = await client.callTool({ name: "hello_mcp", arguments: {} });
await client.close();
console.log(
  JSON.stringify({
    tools: tools.map((tool) => tool.name).sort(),
    hello: hello.content.map((part) => part.text).join(""),
  }),
);
process.exit(0);
