import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { State } from "../bindings/State";
import { states } from "../mock/states";
import { httpTransport, takeToken } from "./http";

const problem = { kind: "not-found", message: "There is no server named x", hint: null };

beforeEach(() => sessionStorage.clear());
afterEach(() => vi.unstubAllGlobals());

function answer(body: unknown, status = 200) {
  const fetching = vi.fn(async (_path: string, _init: RequestInit) => Response.json(body, { status }));
  vi.stubGlobal("fetch", fetching);
  return fetching;
}

test("token is removed from URL and stored for tab", () => {
  location.hash = "#token=abc";
  expect(takeToken()).toBe("abc");
  expect(location.hash).toBe("");
  location.hash = "#/hosts";
  expect(takeToken()).toBe("abc");
  expect(location.hash).toBe("#/hosts");
});

test("call sends request with token", async () => {
  const fetching = answer({ reply: "done" });
  expect(await httpTransport("abc").call({ call: "sign-in", server: "x" })).toEqual({ reply: "done" });
  const [path, init] = fetching.mock.calls[0] ?? [];
  expect(path).toBe("/api/call");
  expect(init?.headers).toMatchObject({ Authorization: "Bearer abc" });
  expect(init?.body).toBe('{"call":"sign-in","server":"x"}');
});

test("failed call rejects with problem of bridge or its own", async () => {
  answer(problem, 404);
  await expect(httpTransport("").call({ call: "status" })).rejects.toEqual(problem);
  answer("no", 401);
  await expect(httpTransport("").call({ call: "status" })).rejects.toMatchObject({
    message: expect.stringContaining("used before"),
  });
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("fetch failed")));
  await expect(httpTransport("").call({ call: "status" })).rejects.toMatchObject({ kind: "unreachable" });
});

test("follow reports states and end of stream", async () => {
  const body = `data: ${JSON.stringify(states.connected)}\n\n`;
  vi.stubGlobal("fetch", async () => new Response(body));
  const seen: State[] = [];
  const lost = await new Promise((resolve) => {
    const end = httpTransport("abc").follow({
      onState: (state) => seen.push(state),
      onLost: (why) => {
        end();
        resolve(why);
      },
    });
  });
  expect(seen).toEqual([states.connected]);
  expect(lost).toMatchObject({ kind: "unreachable" });
});
