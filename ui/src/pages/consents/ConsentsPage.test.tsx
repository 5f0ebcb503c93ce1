import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import { renderApp } from "../../mock/render";
import { mockTransport } from "../../mock/transport";

const user = userEvent.setup({ delay: null });

test("a consent is revoked after a question and is gone", async () => {
  renderApp(mockTransport("connected"), "consents");
  await user.click(await screen.findByRole("button", { name: "Revoke the consent for wiki" }));
  const dialog = await screen.findByRole("dialog");
  await user.click(within(dialog).getByRole("button", { name: "Revoke" }));
  expect(screen.queryByRole("button", { name: "Revoke the consent for wiki" })).toBeNull();
  expect(screen.getByRole("button", { name: "Revoke the consent for snippets" })).toBeDefined();
});

test("no consents are told in words", async () => {
  renderApp(mockTransport("signed-out"), "consents");
  expect(await screen.findByText("No consents")).toBeDefined();
});
