// The connection to the bridge: calls, and a subscription to the state.
// The desktop app uses Tauri, and a browser uses HTTP to `postern ui`.

import type { Problem } from "../bindings/Problem";
import type { Reply } from "../bindings/Reply";
import type { Request } from "../bindings/Request";
import type { State } from "../bindings/State";

export interface Listener {
  onState(state: State): void;
  /** The bridge is unreachable. `onState` follows when it is reachable again. */
  onLost(problem: Problem): void;
}

export interface Transport {
  /** Resolves with the reply, rejects with a `Problem`. */
  call(request: Request): Promise<Reply>;
  /** Returns a function that ends the subscription. */
  follow(listener: Listener): () => void;
}
