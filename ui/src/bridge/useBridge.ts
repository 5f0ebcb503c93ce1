// The only subscription to the bridge's state, and the context that gives pages the client.

import { createContext, useContext, useEffect, useState } from "react";
import type { Problem } from "../bindings/Problem";
import type { State } from "../bindings/State";
import type { Client } from "./client";

export type BridgeStatus =
  | { is: "connecting" }
  | { is: "connected"; state: State }
  | { is: "lost"; problem: Problem; last: State | null };

export function useBridge(client: Client): BridgeStatus {
  const [status, setStatus] = useState<BridgeStatus>({ is: "connecting" });
  useEffect(
    () =>
      client.follow({
        onState: (state) => setStatus({ is: "connected", state }),
        onLost: (problem) => setStatus((before) => ({ is: "lost", problem, last: lastState(before) })),
      }),
    [client],
  );
  return status;
}

function lastState(status: BridgeStatus): State | null {
  switch (status.is) {
    case "connecting":
      return null;
    case "connected":
      return status.state;
    case "lost":
      return status.last;
  }
}

const ClientContext = createContext<Client | null>(null);
export const ClientProvider = ClientContext.Provider;

export function useClient(): Client {
  const client = useContext(ClientContext);
  if (client === null) throw new Error("useClient outside ClientProvider");
  return client;
}
