import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import { renderApp } from "../../mock/render";
import { mockTransport } from "../../mock/transport";

const user = userEvent.setup({ delay: null });

test("a tool is tried with a form, and its answer shown", async () => {
  const transport = mockTransport("connected");
  const call = vi.spyOn(transport, "call");
  renderApp(transport);
  await user.click(screen.getByRole("button", { name: /^snippets/ }));
  await user.click(await screen.findByRole("button", { name: "Try get_snippet" }));
  const dialog = await screen.findByRole("dialog");
  await user.type(within(dialog).getByLabelText(/snippetname/), "greeting");
  await user.click(within(dialog).getByRole("button", { name: "Run" }));
  expect((await within(dialog).findByLabelText("Answer")).textContent).toContain("kept for Ada");
  expect(call).toHaveBeenCalledWith({
    call: "call-tool",
    server: "snippets",
    tool: "get_snippet",
    arguments: '{\n  "snippetname": "greeting"\n}',
  });
});

test("arguments written as JSON must be an object before they can be sent", async () => {
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

test("a server is removed only after a question", async () => {
  renderApp(mockTransport("connected"));
  await user.click(screen.getByRole("button", { name: /^wiki/ }));
  await user.click(await screen.findByRole("button", { name: "Remove" }));
  const dialog = await screen.findByRole("dialog");
  await user.click(within(dialog).getByRole("button", { name: "Remove" }));
  expect(screen.queryByText("wiki")).toBeNull();
});
