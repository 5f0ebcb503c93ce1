// Mock states for screenshots, design work and component tests.

import type { ServerView } from "../bindings/ServerView";
import type { State } from "../bindings/State";
import { tools } from "./tools";

const HTTP = "http://127.0.0.1:4127";
const SOCKET = "unix:///run/user/1000/postern/http.sock";
const ADA = "https://login.contoso.example/v2.0|ada";

function server(name: string, over: Partial<ServerView> = {}): ServerView {
  return {
    name,
    url: `https://mcp.contoso.example/${name}/mcp`,
    endpoint: `${HTTP}/${name}/mcp`,
    sseEndpoint: `${HTTP}/${name}/sse`,
    socketEndpoint: `${SOCKET}#/${name}/mcp`,
    state: { is: "ready" },
    signInProblem: null,
    account: ADA,
    tools,
    ephemeral: false,
    headers: [],
    foreignScopes: [],
    ...over,
  };
}

const firstRun: State = {
  bridge: {
    version: "0.1.0",
    pid: 41270,
    http: HTTP,
    socket: SOCKET,
    httpProblem: null,
    configFile: "/home/ada/.config/postern/config.toml",
    configProblem: null,
    vault: { state: "keychain", detail: "Sealed on disk; the key is in the system keychain.", hint: null },
  },
  accounts: [],
  servers: [],
  sessions: [],
  signIns: [],
  serverMode: { is: "unconfigured" },
};

const connected: State = {
  ...firstRun,
  accounts: [
    {
      id: ADA,
      issuer: "https://login.contoso.example/v2.0",
      name: "Ada Lindqvist",
      username: "ada@contoso.example",
      state: "signed-in",
    },
  ],
  servers: [
    server("snippets"),
    server("timesheets", { state: { is: "unknown" }, tools: null }),
    server("wiki", { tools: tools.slice(0, 1) }),
  ],
  sessions: [
    {
      id: 1,
      server: "snippets",
      host: "Claude Desktop",
      transport: "stdio",
      since: 1_795_244_400,
      state: { is: "active" },
    },
    {
      id: 2,
      server: "snippets",
      host: "Cursor",
      transport: "http",
      since: 1_795_251_000,
      state: { is: "idle", since: 1_795_252_800 },
    },
  ],
  serverMode: { is: "running", url: "http://127.0.0.1:4180", pid: 41533 },
};

const signedOut: State = {
  ...firstRun,
  servers: [server("snippets", { state: { is: "sign-in-needed" }, account: null, tools: null })],
};

const refused: State = {
  ...firstRun,
  servers: [
    server("snippets", {
      account: null,
      tools: null,
      state: { is: "sign-in-needed" },
      signInProblem: {
        kind: "sign-in-ended",
        message:
          "The sign-in was declined: only an administrator may consent to what this application asks for",
        hint: "send your administrator this link, and sign in again afterwards",
        refusal: {
          code: "AADSTS90094",
          actor: "administrator",
          words: "AADSTS90094: Admin consent is required.",
          correlationId: "6b1c1f5e-6f0a-4a55-9c8e-0f8b6a1c2d3e",
          adminConsentUrl: "https://login.contoso.example/contoso.example/adminconsent?client_id=11f0",
        },
      },
    }),
  ],
};

const signingIn: State = {
  ...signedOut,
  signIns: [
    {
      server: "snippets",
      url: "https://mcp.contoso.example/authorize?client_id=postern&response_type=code&code_challenge_method=S256",
      browserProblem: null,
      code: null,
      callbackPort: 49152,
      approval: null,
      takesAddress: false,
      since: 1_795_251_000,
    },
  ],
};

const approving: State = {
  ...signedOut,
  servers: [
    server("snippets", {
      state: { is: "sign-in-needed" },
      account: null,
      tools: null,
      foreignScopes: ["https://graph.microsoft.com/Mail.Read"],
    }),
  ],
  signIns: [
    {
      server: "snippets",
      url: "",
      browserProblem: null,
      code: null,
      callbackPort: null,
      approval: {
        resource: "api://5e0c2c1a-7b64-4f1d-9c58-1d2a3b4c5d01",
        issuer: "https://login.microsoftonline.com/8c1f0a52-6d0e-4b7a-9f3c-2f5b7f1f6a10/v2.0",
        previous: null,
        audience: "b8e05f4d-2c93-4a61-8f7e-d4a1906c3e04",
        previousAudience: null,
        otherServer: "files",
        onPage: false,
      },
      takesAddress: false,
      since: 1_795_251_000,
    },
  ],
};

const enteringCode: State = {
  ...signedOut,
  signIns: [
    {
      server: "snippets",
      url: "https://login.contoso.example/device?user_code=WDJB-MJHT",
      browserProblem: null,
      code: { code: "WDJB-MJHT", page: "https://login.contoso.example/device", until: 1_795_251_900 },
      callbackPort: null,
      approval: null,
      takesAddress: false,
      since: 1_795_251_000,
    },
  ],
};

const attention: State = {
  ...connected,
  bridge: {
    ...connected.bridge,
    http: null,
    httpProblem: {
      kind: "in-use",
      message: "Port 4127 is taken by another program",
      hint: "End that program, or choose another port under [bridge] in config.toml.",
    },
    configProblem: {
      kind: "invalid",
      message: "config.toml, line 7: unknown field `ulr` in servers.wiki",
      hint: "Write `url`. The last good configuration stays in force.",
    },
    vault: {
      state: "locked",
      detail: "The system keychain is locked. Unlock it to keep sign-ins.",
      hint: "unlock the keychain, then try again",
    },
  },
  servers: [
    server("snippets", { endpoint: null, sseEndpoint: null }),
    server("timesheets", { state: { is: "sign-in-needed" }, endpoint: null, sseEndpoint: null, tools: null }),
    server("wiki", {
      endpoint: null,
      sseEndpoint: null,
      state: {
        is: "failed",
        problem: {
          kind: "untrusted",
          message: "The certificate of mcp.contoso.example is not trusted by this computer",
          hint: "Ask your administrator to install your organisation's root certificate.",
        },
      },
    }),
    server("mcp-dev-contoso", { ephemeral: true, state: { is: "connecting" }, tools: null, account: null }),
  ],
  signIns: [
    {
      server: "timesheets",
      url: "https://login.contoso.example/authorize?client_id=11f0&response_type=code&redirect_uri=http%3A%2F%2Flocalhost%3A49152",
      browserProblem:
        "No browser was found: `xdg-open` is not installed. Copy the link into a browser on this computer.",
      code: null,
      callbackPort: 49152,
      approval: null,
      takesAddress: false,
      since: 1_795_251_000,
    },
  ],
  serverMode: {
    is: "failed",
    problem: {
      kind: "failed",
      message: "The gateway ended with exit code 2: gateway.toml, line 4: `authority` is missing",
      hint: "Correct the file, then press Start.",
    },
  },
};

export const states = {
  "first-run": firstRun,
  connected,
  "signed-out": signedOut,
  refused,
  "signing-in": signingIn,
  "entering-code": enteringCode,
  approving,
  attention,
};
export type StateName = keyof typeof states;
