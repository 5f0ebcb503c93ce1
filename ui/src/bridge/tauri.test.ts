import { emit } from "@tauri-apps/api/event";
import { clearMocks, mockIPC } from "@tauri-apps/api/mocks";
import { afterEach, expect, test, vi } from "vitest";
import type { Problem } from "../bindings/Problem";
import { states } from "../mock/states";
import { tauriTransport } from "./tauri";

const lost: Problem = { kind: "unreachable", message: "The background service ended", hint: null };

afterEach(clearMocks);

function app(commands: Record<string, (args: unknown) => unknown>) {
  mockIPC((command, args) => commands[command]?.(args), { shouldMockEvents: true });
}

function listen() {
  const listener = { onState: vi.fn(), onLost: vi.fn() };
  const end = tauriTransport().follow(listener);
  return { ...listener, end };
}

test("call sends request and rejects with problem", async () => {
  const call = vi.fn((_args: unknown): unknown => ({ reply: "done" }));
  app({ call });
  const request = { call: "remove-server", name: "x" } as const;
  expect(await tauriTransport().call(request)).toEqual({ reply: "done" });
  expect(call).toHaveBeenCalledWith({ request });
  call.mockImplementation(() => Promise.reject(lost));
  await expect(tauriTransport().call(request)).rejects.toEqual(lost);
});

test("follow reports current state and changes", async () => {
  app({ state: () => states.connected });
  const received = listen();
  await vi.waitFor(() => expect(received.onState).toHaveBeenCalledWith(states.connected));
  await emit("lost", lost);
  expect(received.onLost).toHaveBeenCalledWith(lost);
  received.end();
  await emit("state", states.attention);
  expect(received.onState).toHaveBeenCalledTimes(1);
});

test("event before first response wins", async () => {
  let answer: (state: unknown) => void = () => undefined;
  const requested = vi.fn(() => new Promise((resolve) => (answer = resolve)));
  app({ state: requested });
  const received = listen();
  await vi.waitFor(() => expect(requested).toHaveBeenCalled());
  await emit("state", states.attention);
  answer(states.connected);
  await Promise.resolve();
  expect(received.onState.mock.calls).toEqual([[states.attention]]);
});
