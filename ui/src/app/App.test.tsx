import { act, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import type { Problem } from "../bindings/Problem";
import type { Listener } from "../bridge/transport";
import { renderApp } from "../mock/render";
import { states } from "../mock/states";
import { mockTransport } from "../mock/transport";

const user = userEvent.setup({ delay: null });
const unreachable: Problem = {
  kind: "unreachable",
  message: "The background service ended",
  hint: "wait a moment",
};

test("missing bridge is reported with hint", () => {
  renderApp(mockTransport("none"));
  const alert = screen.getByRole("alert");
  expect(alert.textContent).toContain("Postern's background service is not running");
  expect(alert.textContent).toContain("Run postern bridge in a terminal");
});

test("lost bridge leaves last state inert until it returns", () => {
  let listener: Listener | undefined;
  renderApp({
    call: () => Promise.reject(unreachable),
    follow: (given) => {
      listener = given;
      given.onState(states.connected);
      return () => undefined;
    },
  });
  act(() => listener?.onLost(unreachable));
  expect(screen.getByRole("status").textContent).toContain("Postern's background service is not running");
  expect(screen.getByText("timesheets").closest("[inert]")).not.toBeNull();
  act(() => listener?.onState(states.connected));
  expect(screen.queryByText("Postern's background service is not running")).toBeNull();
  expect(screen.getByText("timesheets").closest("[inert]")).toBeNull();
});

test("first run adds server and suggests name from URL", async () => {
  renderApp(mockTransport("first-run"));
  await user.type(screen.getByLabelText("Server URL"), "https://mcp.example.com/snippets/mcp");
  expect(screen.getByLabelText<HTMLInputElement>("Name").value).toBe("snippets");
  await user.click(screen.getByRole("button", { name: "Add server" }));
  expect(await screen.findByRole("heading", { name: "Servers" })).toBeDefined();
  expect(screen.getByText("Sign-in needed")).toBeDefined();
});

test("URL without server proposes found one", async () => {
  renderApp(mockTransport("first-run"));
  await user.type(screen.getByLabelText("Server URL"), "https://mcp.example.com");
  await user.click(screen.getByRole("button", { name: "Add server" }));
  expect((await screen.findByRole("alert")).textContent).toContain("nothing at this path");
  await user.click(screen.getByRole("button", { name: "Add https://mcp.example.com/mcp instead" }));
  expect(await screen.findByRole("heading", { name: "Servers" })).toBeDefined();
  expect(screen.getByText("https://mcp.example.com/mcp")).toBeDefined();
});

test("taken name is reported in form", async () => {
  renderApp(mockTransport("connected"));
  await user.click(screen.getByRole("button", { name: "Add server" }));
  const dialog = await screen.findByRole("dialog");
  await user.type(within(dialog).getByLabelText("Server URL"), "https://mcp.example.com/wiki/mcp");
  await user.click(within(dialog).getByRole("button", { name: "Add server" }));
  expect((await within(dialog).findByRole("alert")).textContent).toContain("already is a server named wiki");
});

test("pending sign-in shows link and can be cancelled", async () => {
  renderApp(mockTransport("attention"), "settings");
  const banner = screen.getByRole("status");
  expect(banner.textContent).toContain("The browser could not be opened to sign in to timesheets");
  expect(banner.textContent).toContain("https://login.contoso.example/authorize");
  await user.click(within(banner).getByRole("button", { name: "Cancel sign-in" }));
  expect(screen.queryByText(/could not be opened/)).toBeNull();
});

test("user code is shown with page and can be copied", () => {
  renderApp(mockTransport("entering-code"));
  const banner = screen.getByRole("status");
  expect(banner.textContent).toContain("Enter a code to sign in to snippets");
  expect(banner.textContent).toContain("WDJB-MJHT");
  expect(within(banner).getByText("https://login.contoso.example/device")).toBeDefined();
  expect(within(banner).getByRole("button", { name: "Copy code" })).toBeDefined();
  expect(within(banner).getByRole("button", { name: "Cancel sign-in" })).toBeDefined();
});

test("pending approval names resource and approves only that", async () => {
  const transport = mockTransport("approving");
  const call = vi.spyOn(transport, "call");
  renderApp(transport);
  const banner = screen.getByRole("status");
  const resource = "api://5e0c2c1a-7b64-4f1d-9c58-1d2a3b4c5d01";
  expect(banner.textContent).toContain("snippets asks for access to");
  expect(within(banner).getByText(resource)).toBeDefined();
  expect(within(banner).queryByRole("button", { name: "Copy sign-in link" })).toBeNull();
  expect(banner.textContent).toContain("Tokens of the server files have this audience too");
  await user.click(within(banner).getByRole("button", { name: "Allow access" }));
  const audience = "b8e05f4d-2c93-4a61-8f7e-d4a1906c3e04";
  expect(call).toHaveBeenCalledWith({ call: "approve-resource", server: "snippets", resource, audience });
});

test("foreign scopes are shown with their server", () => {
  renderApp(mockTransport("approving"));
  expect(screen.getByText("https://graph.microsoft.com/Mail.Read")).toBeDefined();
});

test("failed sign-in is reported on every page", async () => {
  renderApp(mockTransport("signed-out"));
  await user.click(screen.getByRole("button", { name: "Sign in" }));
  expect((await screen.findByRole("alert")).textContent).toContain("The sign-in to snippets timed out");
});

test("every state has label", () => {
  renderApp(mockTransport("attention"));
  for (const words of ["Ready", "Sign-in needed", "Not working", "Connecting"]) {
    expect(screen.getByText(words)).toBeDefined();
  }
  expect(screen.getByLabelText("2 servers need attention")).toBeDefined();
});

test("every control has name", () => {
  for (const page of ["servers", "consents", "hosts", "settings"]) {
    const { unmount } = renderApp(mockTransport("connected"), page);
    for (const button of screen.getAllByRole("button")) {
      expect(button.getAttribute("aria-label") ?? button.textContent, button.outerHTML).not.toBe("");
    }
    unmount();
  }
});

test("servers page makes no calls", () => {
  const transport = mockTransport("connected");
  const call = vi.spyOn(transport, "call");
  renderApp(transport);
  expect(call).not.toHaveBeenCalled();
});
