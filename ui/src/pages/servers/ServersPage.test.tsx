import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import { renderApp } from "../../mock/render";
import { mockTransport } from "../../mock/transport";
import { time } from "../../strings/t";

const user = userEvent.setup({ delay: null });

test("tool call with form shows result", async () => {
  const transport = mockTransport("connected");
  const call = vi.spyOn(transport, "call");
  renderApp(transport);
  await user.click(screen.getByRole("button", { name: /^snippets/ }));
  await user.click(await screen.findByRole("button", { name: "Try get_snippet" }));
  const dialog = await screen.findByRole("dialog");
  await user.type(within(dialog).getByLabelText(/snippetname/), "greeting");
  await user.click(within(dialog).getByRole("button", { name: "Run" }));
  expect((await within(dialog).findByLabelText("Result")).textContent).toContain("kept for Ada");
  expect(call).toHaveBeenCalledWith({
    call: "call-tool",
    server: "snippets",
    tool: "get_snippet",
    arguments: '{\n  "snippetname": "greeting"\n}',
  });
});

test("JSON arguments must be object", async () => {
  renderApp(mockTransport("connected"));
  await user.click(screen.getByRole("button", { name: /^snippets/ }));
  await user.click(await screen.findByRole("button", { name: "Try get_snippet" }));
  const dialog = await screen.findByRole("dialog");
  await user.click(within(dialog).getByText("JSON"));
  const field = within(dialog).getByLabelText("Arguments");
  await user.clear(field);
  await user.type(field, "[[1]");
  expect(within(dialog).getByText(/Not a JSON object/)).toBeDefined();
  expect(within(dialog).getByRole<HTMLButtonElement>("button", { name: "Run" }).disabled).toBe(true);
});

test("server is removed after confirmation", async () => {
  renderApp(mockTransport("connected"));
  await user.click(screen.getByRole("button", { name: /^wiki/ }));
  await user.click(await screen.findByRole("button", { name: "Remove" }));
  const dialog = await screen.findByRole("dialog");
  await user.click(within(dialog).getByRole("button", { name: "Remove" }));
  expect(screen.queryByText("wiki")).toBeNull();
});

test("account of server can be switched", async () => {
  const transport = mockTransport("connected");
  const call = vi.spyOn(transport, "call");
  renderApp(transport);
  await user.click(screen.getByRole("button", { name: /^snippets/ }));
  await user.click(await screen.findByRole("button", { name: "Change" }));
  expect(screen.queryByRole("menuitem", { name: "ada@contoso.example" })).toBeNull();
  await user.click(await screen.findByRole("menuitem", { name: "Another account…" }));
  expect(call).toHaveBeenCalledWith({ call: "switch-account", server: "snippets", account: null });
});

test("idle session shows its idle time", async () => {
  renderApp(mockTransport("connected"));
  await user.click(screen.getByRole("button", { name: /^snippets/ }));
  const listed = await screen.findByText(/^Claude Desktop/);
  const [active, idle] = (listed.textContent ?? "").split("), ");
  expect(active).toBe(`Claude Desktop (stdio, since ${time(1_795_244_400)}`);
  expect(idle).toBe(`Cursor (http, idle since ${time(1_795_252_800)})`);
});

test("authorization error shows actor and details", async () => {
  renderApp(mockTransport("refused"));
  const alerts = await screen.findAllByRole("alert");
  const alert = alerts.find((one) => one.textContent?.includes("AADSTS90094"));
  expect(alert?.textContent).toContain("An administrator of your organisation must do this.");
  expect(alert?.textContent).toContain("6b1c1f5e-6f0a-4a55-9c8e-0f8b6a1c2d3e");
  expect(screen.getByRole("button", { name: "Copy administrator's link" })).toBeDefined();
});
