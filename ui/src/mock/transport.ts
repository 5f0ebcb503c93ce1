// `vite --mode mock`: `?state=connected` selects the state (see states.ts, or `none` for no bridge).

import type { Problem } from "../bindings/Problem";
import type { Listener, Transport } from "../bridge/transport";
import { MockBridge } from "./answers";
import { type StateName, states } from "./states";

const NO_BRIDGE: Problem = {
  kind: "unreachable",
  message: "The control socket does not respond, and the background service could not be started.",
  hint: "Run `postern bridge` in a terminal to see why.",
};

export function mockTransport(
  name = new URLSearchParams(location.search).get("state") ?? "connected",
): Transport {
  if (name === "none") {
    return {
      call: () => Promise.reject(NO_BRIDGE),
      follow: (listener) => {
        listener.onLost(NO_BRIDGE);
        return () => undefined;
      },
    };
  }
  const bridge = new MockBridge(states[name as StateName] ?? states.connected);
  const listeners = new Set<Listener>();
  return {
    async call(request) {
      const reply = bridge.answer(request);
      for (const listener of listeners) listener.onState(bridge.state);
      return reply;
    },
    follow(listener) {
      listeners.add(listener);
      listener.onState(bridge.state);
      return () => listeners.delete(listener);
    },
  };
}
