import type { Problem } from "../bindings/Problem";
import { t } from "../strings/t";

/** Converts a thrown value to a `Problem`. */
export function toProblem(thrown: unknown): Problem {
  if (isProblem(thrown)) return thrown;
  const detail = thrown instanceof Error ? thrown.message : String(thrown);
  return { kind: "failed", message: t("problem-unexpected", { detail }), hint: t("problem-try-again") };
}

export function isProblem(value: unknown): value is Problem {
  return typeof value === "object" && value !== null && "kind" in value && "message" in value;
}
