import type { ConsentView } from "../bindings/ConsentView";
import type { DoctorCheck } from "../bindings/DoctorCheck";

export const consents: ConsentView[] = [
  {
    id: "c1",
    via: "snippets",
    server: "snippets",
    client: "Postern on ada-laptop",
    scopes: ["mcp:tools", "offline_access"],
    grantedAt: 1_793_700_000,
  },
  {
    id: "c2",
    via: "snippets",
    server: "wiki",
    client: "Postern on ada-laptop",
    scopes: ["mcp:tools"],
    grantedAt: 1_795_100_000,
  },
];

export const doctor: DoctorCheck[] = [
  { subject: "Configuration", outcome: "ok", finding: "3 servers.", hint: null },
  { subject: "Keychain", outcome: "ok", finding: "Unlocked, and contains the key.", hint: null },
  {
    subject: "timesheets",
    outcome: "warning",
    finding: "Not signed in yet.",
    hint: "Press Sign in under Servers.",
  },
];

export function diff(request: { call: string; server: string }): string {
  const entry = [
    `    "${request.server}": {`,
    '      "command": "/home/ada/.local/share/postern/bin/postern",',
    `      "args": ["connect", "${request.server}"]`,
    "    }",
  ];
  const adding = request.call === "preview-host-add";
  const marked = entry.map((line) => `${adding ? "+" : "-"}${line}`);
  return [
    "--- claude_desktop_config.json",
    "+++ claude_desktop_config.json",
    adding ? "@@ -2,6 +2,10 @@" : "@@ -2,10 +2,6 @@",
    '   "mcpServers": {',
    '     "filesystem": {',
    '       "command": "npx",',
    '       "args": ["-y", "@modelcontextprotocol/server-filesystem", "/home/ada/notes"]',
    ...(adding ? ["-    }", "+    },"] : ["-    },", "+    }"]),
    ...marked,
    "   }",
    " }",
    "",
  ].join("\n");
}
