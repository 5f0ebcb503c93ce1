// Every call that the window makes, with the reply it gets. Generated bindings are the only way in.

import type { HostId } from "../bindings/HostId";
import type { Reply } from "../bindings/Reply";
import type { Request } from "../bindings/Request";
import type { ServerModeForm } from "../bindings/ServerModeForm";
import { t } from "../strings/t";
import type { Transport } from "./transport";

type Kind = Reply["reply"];
type Value<K extends Kind> = Extract<Reply, { reply: K }> extends { value: infer V } ? V : undefined;
export type Client = ReturnType<typeof createClient>;

export function createClient(transport: Transport) {
  async function ask<K extends Kind>(request: Request, expected: K): Promise<Value<K>> {
    const reply = await transport.call(request);
    if (reply.reply !== expected) {
      throw {
        kind: "failed",
        message: t("problem.reply", { reply: reply.reply }),
        hint: t("problem.update"),
      };
    }
    return ("value" in reply ? reply.value : undefined) as Value<K>;
  }

  return {
    follow: transport.follow,
    signIn: (server: string) => ask({ call: "sign-in", server }, "done"),
    approveResource: (server: string, resource: string, audience: string | null) =>
      ask({ call: "approve-resource", server, resource, audience }, "done"),
    cancelSignIn: (server: string) => ask({ call: "cancel-sign-in", server }, "done"),
    switchAccount: (server: string, account: string | null) =>
      ask({ call: "switch-account", server, account }, "done"),
    signOut: (account: string | null, everywhere = false) =>
      ask({ call: "sign-out", account, everywhere }, "done"),
    inspectServer: (name: string, url: string) => ask({ call: "inspect-server", name, url }, "inspection"),
    addServer: (name: string, url: string) => ask({ call: "add-server", name, url }, "done"),
    removeServer: (name: string) => ask({ call: "remove-server", name }, "done"),
    testServer: (name: string) => ask({ call: "test-server", name }, "test"),
    callTool: (server: string, tool: string, args: string) =>
      ask({ call: "call-tool", server, tool, arguments: args }, "tool"),
    listHosts: () => ask({ call: "list-hosts" }, "hosts"),
    previewHostAdd: (host: HostId, server: string) =>
      ask({ call: "preview-host-add", host, server }, "host-change"),
    previewHostRemove: (host: HostId, server: string) =>
      ask({ call: "preview-host-remove", host, server }, "host-change"),
    addToHost: (host: HostId, server: string, approved: string) =>
      ask({ call: "add-to-host", host, server, approved }, "host-change"),
    removeFromHost: (host: HostId, server: string, approved: string) =>
      ask({ call: "remove-from-host", host, server, approved }, "host-change"),
    listConsents: () => ask({ call: "list-consents", server: null }, "consents"),
    revokeConsent: (server: string, id: string) => ask({ call: "revoke-consent", server, id }, "done"),
    configureServerMode: (form: ServerModeForm) => ask({ call: "configure-server-mode", form }, "done"),
    startServerMode: () => ask({ call: "start-server-mode" }, "done"),
    stopServerMode: () => ask({ call: "stop-server-mode" }, "done"),
    doctor: () => ask({ call: "doctor" }, "doctor"),
  };
}
