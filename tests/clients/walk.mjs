// A host on the official TypeScript SDK that sends requests one by one, and prints everything that
// it received.
// Usage: node --input-type=module --eval "$(cat walk.mjs)" REQUESTS http|sse URL
//        node --input-type=module --eval "$(cat walk.mjs)" REQUESTS stdio COMMAND [ARGUMENT…]
// in the folder where the packages are installed. REQUESTS is JSON: [[METHOD, PARAMETERS], …].
// It answers sampling and elicitation requests the same way every time.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  ResultSchema,
} from "@modelcontextprotocol/sdk/types.js";

const [requests, way, target, ...args] = process.argv.slice(1);
const transports = {
  http: () => new StreamableHTTPClientTransport(new URL(target)),
  sse: () => new SSEClientTransport(new URL(target)),
  stdio: () => new StdioClientTransport({ command: target, args }),
};
const capabilities = { sampling: {}, elicitation: { form: {} }, roots: { listChanged: true } };
const client = new Client({ name: "walk", version: "1.0.0" }, { capabilities });

const asked = [];
const answer = (schema, result) =>
  client.setRequestHandler(schema, ({ method, params }) => {
    asked.push({ method, params });
    return result;
  });
answer(CreateMessageRequestSchema, {
  model: "none",
  role: "assistant",
  content: { type: "text", text: "π is 3.14" },
});
answer(ElicitRequestSchema, { action: "accept", content: { name: "Zoë", check: true } });
answer(ListRootsRequestSchema, { roots: [{ uri: "file:///tmp/walk", name: "walk" }] });

const ask = async ([method, params]) => {
  const progress = [];
  // The SDK skips the last progress notification if the response arrives at the same moment.
  const onprogress = (step) => step.progress < step.total && progress.push(step);
  try {
    return [method, await client.request({ method, params }, ResultSchema, { onprogress }), progress];
  } catch (error) {
    return [method, { code: error.code, message: error.message, data: error.data }, progress];
  }
};

await client.connect(transports[way]());
const answers = [];
for (const request of JSON.parse(requests)) answers.push(await ask(request));
const report = {
  server: client.getServerVersion(),
  capabilities: client.getServerCapabilities(),
  instructions: client.getInstructions(),
  answers,
  // A request of the server may arrive at any time.
  asked: asked.filter(({ method }) => method !== "roots/list"),
};
await client.close();
console.log(JSON.stringify(report));
process.exit(0);
