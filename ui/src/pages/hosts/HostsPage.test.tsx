import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import { renderApp } from "../../mock/render";
import { mockTransport } from "../../mock/transport";

const user = userEvent.setup({ delay: null });

test("change is previewed before it is applied", async () => {
  const transport = mockTransport("connected");
  const call = vi.spyOn(transport, "call");
  const made = () => call.mock.calls.some(([request]) => request.call === "add-to-host");
  renderApp(transport, "hosts");
  await user.click(await screen.findByRole("button", { name: "Add snippets to Claude Desktop" }));
  const dialog = await screen.findByRole("dialog");
  expect((await within(dialog).findByLabelText("Change to the file")).textContent).toContain(
    '+      "args": ["connect", "snippets"]',
  );
  expect(made()).toBe(false);
  await user.click(within(dialog).getByRole("button", { name: "Make this change" }));
  expect((await screen.findByRole("status")).textContent).toContain("Quit Claude Desktop and start it again");
  expect(made()).toBe(true);
  expect(await screen.findByRole("button", { name: "Remove snippets from Claude Desktop" })).toBeDefined();
});
