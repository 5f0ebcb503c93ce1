// An action that runs when a page opens and again when its inputs change.

import { useEffect } from "react";
import { type Action, useAction } from "./useAction";

/** Loads again whenever the text `changes` changes. */
export function useLoad<R>(load: () => Promise<R>, changes: string): Action<[], R> {
  const action = useAction(load);
  const { run } = action;
  // biome-ignore lint/correctness/useExhaustiveDependencies: `changes` is the reason to load again
  useEffect(() => {
    void run();
  }, [run, changes]);
  return action;
}
