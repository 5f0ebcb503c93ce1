// Mock replies to calls, with a state that calls can change.

import type { ConsentList } from "../bindings/ConsentList";
import type { HostView } from "../bindings/HostView";
import type { Inspection } from "../bindings/Inspection";
import type { Problem } from "../bindings/Problem";
import type { Reply } from "../bindings/Reply";
import type { Request } from "../bindings/Request";
import type { State } from "../bindings/State";
import { consents, diff, doctor } from "./replies";

const DONE: Reply = { reply: "done" };

/** A mock bridge: its state and its replies. */
export class MockBridge {
  state: State;
  private hostServers = ["wiki"];
  private consents = consents;

  constructor(state: State) {
    this.state = state;
  }

  answer(request: Request): Reply {
    switch (request.call) {
      case "status":
      case "watch":
        return { reply: "state", value: this.state };
      case "inspect-server":
        return { reply: "inspection", value: inspection(request.url) };
      case "add-server":
        return this.addServer(request.name, request.url);
      case "remove-server":
        this.change({ servers: this.state.servers.filter((server) => server.name !== request.name) });
        return DONE;
      case "sign-out":
        this.change({ accounts: [] });
        return DONE;
      case "cancel-sign-in":
        this.change({ signIns: this.state.signIns.filter((waiting) => waiting.server !== request.server) });
        return DONE;
      case "test-server":
        return {
          reply: "test",
          value: {
            serverInfo: "snippets 1.0.0",
            protocolVersion: "2025-11-25",
            tools: ["hello_mcp", "get_snippet", "save_snippet"],
            milliseconds: 84,
          },
        };
      case "call-tool":
        return { reply: "tool", value: toolResult(request.tool) };
      case "list-hosts":
        return { reply: "hosts", value: [this.host()] };
      case "preview-host-add":
      case "preview-host-remove":
        return {
          reply: "host-change",
          value: { path: this.host().path, diff: diff(request), backup: null, afterwards: null },
        };
      case "add-to-host":
        this.hostServers = [...this.hostServers, request.server];
        return this.hostChanged(request.server);
      case "remove-from-host":
        this.hostServers = this.hostServers.filter((server) => server !== request.server);
        return this.hostChanged(request.server);
      case "list-consents":
        return { reply: "consents", value: this.listed() };
      case "revoke-consent":
        this.consents = this.consents.filter((consent) => consent.id !== request.id);
        return DONE;
      case "configure-server-mode":
      case "stop-server-mode":
        this.change({ serverMode: { is: "off" } });
        return DONE;
      case "start-server-mode":
        this.change({ serverMode: { is: "running", url: "http://127.0.0.1:4180", pid: 41533 } });
        return DONE;
      case "switch-account":
        this.change({
          servers: this.state.servers.map((server) =>
            server.name === request.server ? { ...server, account: request.account } : server,
          ),
        });
        return DONE;
      case "doctor":
        return { reply: "doctor", value: doctor };
      case "sign-in":
        throw {
          kind: "sign-in-ended",
          message: `The sign-in to ${request.server} timed out`,
          hint: "Press Sign in to try again.",
        } satisfies Problem;
      default:
        return DONE;
    }
  }

  private listed(): ConsentList {
    const waiting = this.state.servers.filter((server) => server.state.is === "sign-in-needed");
    const isSignedIn = this.state.accounts.length > 0;
    return {
      consents: isSignedIn ? this.consents : [],
      answered: isSignedIn ? 1 : 0,
      notAsked: waiting.map(({ name }) => ({
        server: name,
        reason: "not signed in",
        kind: "sign-in-needed",
      })),
    };
  }

  private addServer(name: string, url: string): Reply {
    if (this.state.servers.some((server) => server.name === name && !server.ephemeral)) {
      throw {
        kind: "invalid",
        message: `There already is a server named ${name}`,
        hint: "Choose another name.",
      } satisfies Problem;
    }
    const added = {
      name,
      url,
      endpoint: `${this.state.bridge.http}/${name}/mcp`,
      sseEndpoint: `${this.state.bridge.http}/${name}/sse`,
      socketEndpoint: `${this.state.bridge.socket}#/${name}/mcp`,
      state: { is: "sign-in-needed" as const },
      signInProblem: null,
      account: null,
      tools: null,
      ephemeral: false,
      headers: [],
      foreignScopes: [],
    };
    this.change({ servers: [...this.state.servers.filter((server) => server.url !== url), added] });
    return DONE;
  }

  private host(): HostView {
    return {
      id: "claude-desktop",
      name: "Claude Desktop",
      path: "/home/ada/.config/Claude/claude_desktop_config.json",
      exists: true,
      servers: this.hostServers,
      problem: null,
    };
  }

  private hostChanged(server: string): Reply {
    const { path } = this.host();
    const afterwards = "Quit Claude Desktop and start it again to see the change.";
    return {
      reply: "host-change",
      value: { path, diff: server, backup: `${path}.2026-11-21.bak`, afterwards },
    };
  }

  private change(over: Partial<State>) {
    this.state = { ...this.state, ...over };
  }
}

/** A URL without a path has its server at /mcp. All others need a sign-in. */
function inspection(url: string): Inspection {
  const { origin, pathname } = new URL(url);
  if (pathname !== "/") return { is: "sign-in" };
  return {
    is: "elsewhere",
    problem: {
      kind: "not-mcp",
      message: "The server has nothing at this path (HTTP 404)",
      hint: "Check the URL; it usually ends in /mcp.",
    },
    url: `${origin}/mcp`,
    found: { is: "sign-in" },
  };
}

function toolResult(tool: string) {
  const text = tool === "hello_mcp" ? "Hello I am MCPTool!" : 'fn main() {\n    println!("kept for Ada");\n}';
  return {
    text,
    isError: false,
    json: JSON.stringify({ content: [{ type: "text", text }], isError: false }),
  };
}
