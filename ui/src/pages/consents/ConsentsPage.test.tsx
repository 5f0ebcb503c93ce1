import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import type { Transport } from "../../bridge/transport";
import { renderApp } from "../../mock/render";
import { mockTransport } from "../../mock/transport";

const user = userEvent.setup({ delay: null });

test("consent is revoked after confirmation", async () => {
  renderApp(mockTransport("connected"), "consents");
  await user.click(await screen.findByRole("button", { name: "Revoke the consent for wiki" }));
  const dialog = await screen.findByRole("dialog");
  await user.click(within(dialog).getByRole("button", { name: "Revoke" }));
  expect(screen.queryByRole("button", { name: "Revoke the consent for wiki" })).toBeNull();
  expect(screen.getByRole("button", { name: "Revoke the consent for snippets" })).toBeDefined();
});

test("empty list has placeholder", async () => {
  renderApp(mockTransport("signed-out"), "consents");
  expect(await screen.findByText("No consents")).toBeDefined();
});

test("unavailable servers are listed in one line", async () => {
  const inner = mockTransport("connected");
  const notAsked = [
    { server: "contoso", reason: "not signed in", kind: "sign-in-needed" as const },
    { server: "gone", reason: "cannot be reached", kind: "unreachable" as const },
  ];
  const transport: Transport = {
    ...inner,
    async call(request) {
      const reply = await inner.call(request);
      return reply.reply === "consents" ? { ...reply, value: { ...reply.value, notAsked } } : reply;
    },
  };
  renderApp(transport, "consents");
  const note = await screen.findByText("Not available: contoso (not signed in), gone (cannot be reached)");
  expect(note).toBeDefined();
  expect(screen.getByRole("button", { name: "Revoke the consent for wiki" })).toBeDefined();
  expect(screen.queryByRole("alert")).toBeNull();
});
