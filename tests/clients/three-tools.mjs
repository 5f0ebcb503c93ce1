// A host on the official TypeScript SDK: lists the tools, calls the three, prints what came back.
// Usage: node --input-type=module --eval "$(cat three-tools.mjs)" legacy|auto COMMAND [ARGUMENT…]
//        node --input-type=module --eval "$(cat three-tools.mjs)" legacy|auto URL
// in the folder where the packages are installed.
// `legacy` is the 1.x SDK; `auto` is the 2.x client, which tries the modern era first.

import { Client as LegacyClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport as LegacyTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { SSEClientTransport as LegacySse } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport as LegacyHttp } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { Client, SSEClientTransport, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const [era, command, ...args] = process.argv.slice(1);
const identity = { name: "three-tools", version: "1.0.0" };
const transport = (Stdio, Http, Sse) => {
  if (!command.startsWith("http:")) return new Stdio({ command, args });
  return command.endsWith("/sse") ? new Sse(new URL(command)) : new Http(new URL(command));
};
const [client, way] =
  era === "auto"
    ? [
        new Client(identity, { versionNegotiation: { mode: "auto" } }),
        transport(StdioClientTransport, StreamableHTTPClientTransport, SSEClientTransport),
      ]
    : [new LegacyClient(identity), transport(LegacyTransport, LegacyHttp, LegacySse)];

const call = async (name, input) => {
  const result = await client.callTool({ name, arguments: input });
  return result.content.map((part) => part.text).join("");
};

await client.connect(way);
const { tools } = await client.listTools();
const name = `from-typescript-${era}`;
const report = {
  tools: tools.map((tool) => tool.name).sort(),
  hello: await call("hello_mcp", {}),
  saved: await call("save_snippet", { snippetname: name, snippet: "const π = 3.14;" }),
  got: await call("get_snippet", { snippetname: name }),
};
await client.close();
console.log(JSON.stringify(report));
process.exit(0);
