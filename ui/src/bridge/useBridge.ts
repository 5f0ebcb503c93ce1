// The one place that subscribes to the bridge's state, and the context that hands calls to pages.

import { createContext, useContext, useEffect, useState } from "react";
import type { Problem } from "../bindings/Problem";
import type { State } from "../bindings/State";
import type { Client } from "./client";

export type Link =
  | { is: "connecting" }
  | { is: "attached"; state: State }
  | { is: "lost"; problem: Problem; last: State | null };

export function useBridge(client: Client): Link {
  const [link, setLink] = useState<Link>({ is: "connecting" });
  useEffect(
    () =>
      client.follow({
        onState: (state) => setLink({ is: "attached", state }),
        onLost: (problem) => setLink((before) => ({ is: "lost", problem, last: lastState(before) })),
      }),
    [client],
  );
  return link;
}

function lastState(link: Link): State | null {
  switch (link.is) {
    case "connecting":
      return null;
    case "attached":
      return link.state;
    case "lost":
      return link.last;
  }
}

const ClientContext = createContext<Client | null>(null);
export const ClientProvider = ClientContext.Provider;

export function useClient(): Client {
  const client = useContext(ClientContext);
  if (client === null) throw new Error("useClient outside ClientProvider");
  return client;
}
