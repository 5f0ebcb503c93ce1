// The way to the bridge: one function for calls, one subscription to the state.
// The window reaches it through Tauri, an ordinary browser through `postern ui` over HTTP.

import type { Problem } from "../bindings/Problem";
import type { Reply } from "../bindings/Reply";
import type { Request } from "../bindings/Request";
import type { State } from "../bindings/State";

export interface Listener {
  onState(state: State): void;
  /** The bridge cannot be seen any more; another `onState` follows when it can. */
  onLost(problem: Problem): void;
}

export interface Transport {
  /** Resolves with the reply, rejects with a `Problem`. */
  call(request: Request): Promise<Reply>;
  /** Returns what ends the subscription. */
  follow(listener: Listener): () => void;
}
