// One call at a time, with what it gave or why it failed.

import { useCallback, useEffect, useRef, useState } from "react";
import type { Problem } from "../bindings/Problem";
import { toProblem } from "./problem";

export interface Action<A extends unknown[], R> {
  /** Resolves with the result, or with `undefined` where `problem` says why there is none. */
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
  const turn = useRef(0);
  useEffect(() => {
    latest.current = perform;
  });
  const run = useCallback(async (...args: A) => {
    turn.current += 1;
    const mine = turn.current;
    setOutcome((before) => ({ busy: true, result: before.result, problem: null }));
    try {
      const result = await latest.current(...args);
      if (mine === turn.current) setOutcome({ busy: false, result, problem: null });
      return result;
    } catch (thrown) {
      if (mine === turn.current) setOutcome({ busy: false, result: undefined, problem: toProblem(thrown) });
      return undefined;
    }
  }, []);
  const reset = useCallback(() => {
    turn.current += 1;
    setOutcome({ busy: false, result: undefined, problem: null });
  }, []);
  return { run, reset, ...outcome };
}
