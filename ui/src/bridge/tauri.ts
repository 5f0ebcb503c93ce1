// The transport in the desktop app: commands and events of `src-tauri`.

import { invoke } from "@tauri-apps/api/core";
import { listen } from "@tauri-apps/api/event";
import type { Problem } from "../bindings/Problem";
import type { Reply } from "../bindings/Reply";
import type { State } from "../bindings/State";
import { toProblem } from "./problem";
import type { Listener, Transport } from "./transport";

export function tauriTransport(): Transport {
  return {
    async call(request) {
      try {
        return await invoke<Reply>("call", { request });
      } catch (thrown) {
        throw toProblem(thrown);
      }
    },
    follow,
  };
}

function follow(listener: Listener): () => void {
  let ended = false;
  let received = false;
  const onState = (state: State) => {
    received = true;
    if (!ended) listener.onState(state);
  };
  const onLost = (problem: Problem) => {
    received = true;
    if (!ended) listener.onLost(problem);
  };
  const subscriptions = [
    listen<State>("state", (event) => onState(event.payload)),
    listen<Problem>("lost", (event) => onLost(event.payload)),
  ];
  Promise.all(subscriptions)
    .then(() => invoke<State>("state"))
    .then(
      // An event that arrived meanwhile is newer.
      (state) => received || onState(state),
      (thrown) => received || onLost(toProblem(thrown)),
    );
  return () => {
    ended = true;
    for (const subscription of subscriptions) subscription.then((end) => end());
  };
}
