import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import { renderApp } from "../../mock/render";
import { mockTransport } from "../../mock/transport";

const user = userEvent.setup({ delay: null });

test("bridge problems are shown in their section", () => {
  renderApp(mockTransport("attention"), "settings");
  const bridge = screen.getByRole("region", { name: "Background service" });
  expect(within(bridge).getByText("Port 4127 is taken by another program")).toBeDefined();
  expect(bridge.textContent).toContain("unknown field ulr in servers.wiki");
  expect(within(bridge).getByText("Keychain locked")).toBeDefined();
  expect(within(bridge).getByText("Unlock the keychain, then try again")).toBeDefined();
});

test("server mode form is validated, saved and started", async () => {
  const transport = mockTransport("first-run");
  const call = vi.spyOn(transport, "call");
  renderApp(transport, "settings");
  await user.click(screen.getByRole("button", { name: "Configure…" }));
  const dialog = within(await screen.findByRole("dialog"));
  await user.click(dialog.getByRole("button", { name: "Save configuration" }));
  expect(call.mock.calls.some(([request]) => request.call === "configure-server-mode")).toBe(false);
  await user.type(dialog.getByLabelText("Entra authority"), "https://login.microsoftonline.com/t/v2.0");
  await user.type(dialog.getByLabelText("Application (client) ID"), "11f0");
  await user.type(dialog.getByLabelText("Client secret"), "s");
  await user.type(dialog.getByLabelText("MCP server behind the gateway"), "http://localhost:7071/mcp");
  await user.type(dialog.getByLabelText("Server name"), "snippets");
  await user.click(dialog.getByRole("button", { name: "Save configuration" }));
  await user.click(await screen.findByRole("button", { name: "Start" }));
  expect(await screen.findByText("http://127.0.0.1:4180")).toBeDefined();
  expect(call).toHaveBeenCalledWith({
    call: "configure-server-mode",
    form: {
      port: 4180,
      authority: "https://login.microsoftonline.com/t/v2.0",
      clientId: "11f0",
      clientSecret: "s",
      server: "snippets",
      serverUrl: "http://localhost:7071/mcp",
    },
  });
});

test("diagnostics list their results", async () => {
  renderApp(mockTransport("connected"), "settings");
  await user.click(screen.getByRole("button", { name: "Run" }));
  expect(await screen.findByLabelText("Warning")).toBeDefined();
});
