// What is asked for when a page opens, and again when what it hangs on changes.

import { useEffect } from "react";
import { type Action, useAction } from "./useAction";

/** `changes` names the circumstances: another text, another load. */
export function useLoad<R>(load: () => Promise<R>, changes: string): Action<[], R> {
  const action = useAction(load);
  const { run } = action;
  // biome-ignore lint/correctness/useExhaustiveDependencies: `changes` is the reason to load again
  useEffect(() => {
    void run();
  }, [run, changes]);
  return action;
}
