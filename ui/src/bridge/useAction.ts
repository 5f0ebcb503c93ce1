// An action with its latest result or problem. Results of earlier runs are ignored.

import { useCallback, useEffect, useRef, useState } from "react";
import type { Problem } from "../bindings/Problem";
import { toProblem } from "./problem";

export interface Action<A extends unknown[], R> {
  /** Resolves with the result, or with `undefined` if it failed. `problem` has the reason. */
  run: (...args: A) => Promise<R | undefined>;
  busy: boolean;
  result: R | undefined;
  problem: Problem | null;
  reset: () => void;
}

type Outcome<R> = { busy: boolean; result: R | undefined; problem: Problem | null };

export function useAction<A extends unknown[], R>(perform: (...args: A) => Promise<R>): Action<A, R> {
  const [outcome, setOutcome] = useState<Outcome<R>>({ busy: false, result: undefined, problem: null });
  const latest = useRef(perform);
  const latestRun = useRef(0);
  useEffect(() => {
    latest.current = perform;
  });
  const run = useCallback(async (...args: A) => {
    latestRun.current += 1;
    const thisRun = latestRun.current;
    setOutcome((before) => ({ busy: true, result: before.result, problem: null }));
    try {
      const result = await latest.current(...args);
      if (thisRun === latestRun.current) setOutcome({ busy: false, result, problem: null });
      return result;
    } catch (thrown) {
      if (thisRun === latestRun.current)
        setOutcome({ busy: false, result: undefined, problem: toProblem(thrown) });
      return undefined;
    }
  }, []);
  const reset = useCallback(() => {
    latestRun.current += 1;
    setOutcome({ busy: false, result: undefined, problem: null });
  }, []);
  return { run, reset, ...outcome };
}
