// All calls of the window with the types of their replies, from the generated bindings.

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
  async function send<K extends Kind>(request: Request, expected: K): Promise<Value<K>> {
    const reply = await transport.call(request);
    if (reply.reply !== expected) {
      throw {
        kind: "failed",
        message: t("problem-reply", { reply: reply.reply }),
        hint: t("problem-update"),
      };
    }
    return ("value" in reply ? reply.value : undefined) as Value<K>;
  }

  return {
    follow: transport.follow,
    signIn: (server: string) => send({ call: "sign-in", server }, "done"),
    approveResource: (server: string, resource: string, audience: string | null) =>
      send({ call: "approve-resource", server, resource, audience }, "done"),
    cancelSignIn: (server: string) => send({ call: "cancel-sign-in", server }, "done"),
    switchAccount: (server: string, account: string | null) =>
      send({ call: "switch-account", server, account }, "done"),
    signOut: (account: string | null, everywhere = false) =>
      send({ call: "sign-out", account, everywhere }, "done"),
    inspectServer: (name: string, url: string) => send({ call: "inspect-server", name, url }, "inspection"),
    addServer: (name: string, url: string) => send({ call: "add-server", name, url }, "done"),
    removeServer: (name: string) => send({ call: "remove-server", name }, "done"),
    testServer: (name: string) => send({ call: "test-server", name }, "test"),
    callTool: (server: string, tool: string, args: string) =>
      send({ call: "call-tool", server, tool, arguments: args }, "tool"),
    listHosts: () => send({ call: "list-hosts" }, "hosts"),
    previewHostAdd: (host: HostId, server: string) =>
      send({ call: "preview-host-add", host, server }, "host-change"),
    previewHostRemove: (host: HostId, server: string) =>
      send({ call: "preview-host-remove", host, server }, "host-change"),
    addToHost: (host: HostId, server: string, approved: string) =>
      send({ call: "add-to-host", host, server, approved }, "host-change"),
    removeFromHost: (host: HostId, server: string, approved: string) =>
      send({ call: "remove-from-host", host, server, approved }, "host-change"),
    listConsents: () => send({ call: "list-consents", server: null }, "consents"),
    revokeConsent: (server: string, id: string) => send({ call: "revoke-consent", server, id }, "done"),
    configureServerMode: (form: ServerModeForm) => send({ call: "configure-server-mode", form }, "done"),
    startServerMode: () => send({ call: "start-server-mode" }, "done"),
    stopServerMode: () => send({ call: "stop-server-mode" }, "done"),
    doctor: () => send({ call: "doctor" }, "doctor"),
  };
}
