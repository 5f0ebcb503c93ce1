import { act, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import type { Problem } from "../bindings/Problem";
import type { Listener } from "../bridge/transport";
import { renderApp } from "../mock/render";
import { states } from "../mock/states";
import { mockTransport } from "../mock/transport";

const user = userEvent.setup({ delay: null });
const gone: Problem = { kind: "unreachable", message: "The bridge ended", hint: "wait a moment" };

test("without a bridge it says so, and what to do", () => {
  renderApp(mockTransport("none"));
  const alert = screen.getByRole("alert");
  expect(alert.textContent).toContain("Postern's bridge is not running");
  expect(alert.textContent).toContain("Run postern bridge in a terminal");
});

test("a bridge that goes away leaves the last state, which nobody can act on, until it is back", () => {
  let listener: Listener | undefined;
  renderApp({
    call: () => Promise.reject(gone),
    follow: (given) => {
      listener = given;
      given.onState(states.connected);
      return () => undefined;
    },
  });
  act(() => listener?.onLost(gone));
  expect(screen.getByRole("status").textContent).toContain("Postern's bridge is not running");
  expect(screen.getByText("timesheets").closest("[inert]")).not.toBeNull();
  act(() => listener?.onState(states.connected));
  expect(screen.queryByText("Postern's bridge is not running")).toBeNull();
  expect(screen.getByText("timesheets").closest("[inert]")).toBeNull();
});

test("the first run asks for a server, names it after its address and shows it", async () => {
  renderApp(mockTransport("first-run"));
  await user.type(screen.getByLabelText("Server address"), "https://mcp.example.com/snippets/mcp");
  expect(screen.getByLabelText<HTMLInputElement>("Name").value).toBe("snippets");
  await user.click(screen.getByRole("button", { name: "Add server" }));
  expect(await screen.findByRole("heading", { name: "Servers" })).toBeDefined();
  expect(screen.getByText("Sign-in needed")).toBeDefined();
});

test("an address without a server proposes the one that was found", async () => {
  renderApp(mockTransport("first-run"));
  await user.type(screen.getByLabelText("Server address"), "https://mcp.example.com");
  await user.click(screen.getByRole("button", { name: "Add server" }));
  expect((await screen.findByRole("alert")).textContent).toContain("nothing at this path");
  await user.click(screen.getByRole("button", { name: "Add https://mcp.example.com/mcp instead" }));
  expect(await screen.findByRole("heading", { name: "Servers" })).toBeDefined();
  expect(screen.getByText("https://mcp.example.com/mcp")).toBeDefined();
});

test("a name that is taken is told where it was typed", async () => {
  renderApp(mockTransport("connected"));
  await user.click(screen.getByRole("button", { name: "Add server" }));
  const dialog = await screen.findByRole("dialog");
  await user.type(within(dialog).getByLabelText("Server address"), "https://mcp.example.com/wiki/mcp");
  await user.click(within(dialog).getByRole("button", { name: "Add server" }));
  expect((await within(dialog).findByRole("alert")).textContent).toContain("already is a server named wiki");
});

test("a sign-in that waits shows its link and can be cancelled", async () => {
  renderApp(mockTransport("attention"), "settings");
  const banner = screen.getByRole("status");
  expect(banner.textContent).toContain("The browser could not be opened to sign in to timesheets");
  expect(banner.textContent).toContain("https://login.contoso.example/authorize");
  await user.click(within(banner).getByRole("button", { name: "Cancel sign-in" }));
  expect(screen.queryByText(/could not be opened/)).toBeNull();
});

test("a code to enter elsewhere is shown with its page, and can be copied", () => {
  renderApp(mockTransport("entering-code"));
  const banner = screen.getByRole("status");
  expect(banner.textContent).toContain("Enter a code to sign in to snippets");
  expect(banner.textContent).toContain("WDJB-MJHT");
  expect(within(banner).getByText("https://login.contoso.example/device")).toBeDefined();
  expect(within(banner).getByRole("button", { name: "Copy code" })).toBeDefined();
  expect(within(banner).getByRole("button", { name: "Cancel sign-in" })).toBeDefined();
});

test("pending approval names the resource and approves just that", async () => {
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

test("scopes of other resources are shown with their server", () => {
  renderApp(mockTransport("approving"));
  expect(screen.getByText("https://graph.microsoft.com/Mail.Read")).toBeDefined();
});

test("a sign-in that fails is told on every page", async () => {
  renderApp(mockTransport("signed-out"));
  await user.click(screen.getByRole("button", { name: "Sign in" }));
  expect((await screen.findByRole("alert")).textContent).toContain("Nobody finished the sign-in to snippets");
});

test("every state names itself in words", () => {
  renderApp(mockTransport("attention"));
  for (const words of ["Ready", "Sign-in needed", "Not working", "Connecting"]) {
    expect(screen.getByText(words)).toBeDefined();
  }
  expect(screen.getByLabelText("2 servers want attention")).toBeDefined();
});

test("every control has a name", () => {
  for (const page of ["servers", "consents", "hosts", "settings"]) {
    const { unmount } = renderApp(mockTransport("connected"), page);
    for (const button of screen.getAllByRole("button")) {
      expect(button.getAttribute("aria-label") ?? button.textContent, button.outerHTML).not.toBe("");
    }
    unmount();
  }
});

test("asks nothing of a bridge but what a page needs", () => {
  const transport = mockTransport("connected");
  const call = vi.spyOn(transport, "call");
  renderApp(transport);
  expect(call).not.toHaveBeenCalled();
});
