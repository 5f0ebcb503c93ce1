import { emit } from "@tauri-apps/api/event";
import { clearMocks, mockIPC } from "@tauri-apps/api/mocks";
import { afterEach, expect, test, vi } from "vitest";
import type { Problem } from "../bindings/Problem";
import { states } from "../mock/states";
import { tauriTransport } from "./tauri";

const lost: Problem = { kind: "unreachable", message: "The bridge ended", hint: null };

afterEach(clearMocks);

function app(commands: Record<string, (args: unknown) => unknown>) {
  mockIPC((command, args) => commands[command]?.(args), { shouldMockEvents: true });
}

function listen() {
  const listener = { onState: vi.fn(), onLost: vi.fn() };
  const end = tauriTransport().follow(listener);
  return { ...listener, end };
}

test("passes the request on, and rejects with the problem", async () => {
  const call = vi.fn((_args: unknown): unknown => ({ reply: "done" }));
  app({ call });
  const request = { call: "remove-server", name: "x" } as const;
  expect(await tauriTransport().call(request)).toEqual({ reply: "done" });
  expect(call).toHaveBeenCalledWith({ request });
  call.mockImplementation(() => Promise.reject(lost));
  await expect(tauriTransport().call(request)).rejects.toEqual(lost);
});

test("shows the state that there is, then what changes", async () => {
  app({ state: () => states.connected });
  const heard = listen();
  await vi.waitFor(() => expect(heard.onState).toHaveBeenCalledWith(states.connected));
  await emit("lost", lost);
  expect(heard.onLost).toHaveBeenCalledWith(lost);
  heard.end();
  await emit("state", states.attention);
  expect(heard.onState).toHaveBeenCalledTimes(1);
});

test("an event that overtakes the first answer wins", async () => {
  let answer: (state: unknown) => void = () => undefined;
  const asked = vi.fn(() => new Promise((resolve) => (answer = resolve)));
  app({ state: asked });
  const heard = listen();
  await vi.waitFor(() => expect(asked).toHaveBeenCalled());
  await emit("state", states.attention);
  answer(states.connected);
  await Promise.resolve();
  expect(heard.onState.mock.calls).toEqual([[states.attention]]);
});
