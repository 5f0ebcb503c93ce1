// A server on Node.js's own HTTP that closes connections after a second of idling. It reports when it
// is about to close the connection of the latest call, and closes it only when told to, so that a
// call can be on the way then. It also reports if the client closed that connection first.

import { readSync } from "node:fs";
import { createServer } from "node:http";

let latest;

const results = {
  initialize: (params) => ({
    protocolVersion: params.protocolVersion,
    capabilities: { tools: {} },
    serverInfo: { name: "idle", version: "1.0.0" },
  }),
  "tools/list": () => ({
    tools: [{ name: "count", inputSchema: { type: "object" } }],
  }),
  "tools/call": (params) => ({
    content: [{ type: "text", text: String(params.arguments.number) }],
  }),
};

const server = createServer((request, response) => {
  if (request.method !== "POST") {
    response.writeHead(405).end();
    return;
  }
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const message = JSON.parse(Buffer.concat(parts).toString());
    const result = results[message.method];
    if (message.method === "tools/call") latest = request.socket;
    if (result === undefined) {
      response.writeHead(202).end();
      return;
    }
    const answer = {
      jsonrpc: "2.0",
      id: message.id,
      result: result(message.params),
    };
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(answer));
  });
});

server.keepAliveTimeout = 1000;
server.keepAliveTimeoutBuffer = 0;
server.on("timeout", (socket) => {
  if (socket === latest) {
    process.stdout.write("closes\n");
    readSync(0, Buffer.alloc(1));
  }
  socket.destroy();
});
server.on("connection", (socket) => {
  socket.on("end", () => {
    if (socket === latest) process.stdout.write("closed\n");
  });
});
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`listens on ${server.address().port}\n`);
});
