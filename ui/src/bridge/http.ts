// The transport in a browser: HTTP to `postern ui`, with the one-time token in the URL.

import type { Problem } from "../bindings/Problem";
import type { Reply } from "../bindings/Reply";
import type { Request } from "../bindings/Request";
import { t } from "../strings/t";
import { readEvents } from "./events";
import { isProblem, toProblem } from "./problem";
import type { Listener, Transport } from "./transport";

const TOKEN = "postern-token";
const RETRY_MILLISECONDS = 1500;

export function httpTransport(token: string): Transport {
  const headers = { Authorization: `Bearer ${token}` };
  return {
    async call(request: Request) {
      const response = await reach("/api/call", {
        method: "POST",
        headers: { ...headers, "Content-Type": "application/json" },
        body: JSON.stringify(request),
      });
      return (await response.json()) as Reply;
    },
    follow(listener) {
      const end = new AbortController();
      void followUntil(end.signal, headers, listener);
      return () => end.abort();
    },
  };
}

/** Removes the token from the URL, so that it does not stay in the history, and stores it for this tab. */
export function takeToken(): string {
  const fragment = location.hash.replace(/^#(token=)?/, "");
  if (fragment !== "" && !fragment.startsWith("/")) {
    sessionStorage.setItem(TOKEN, decodeURIComponent(fragment));
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(TOKEN) ?? "";
}

async function followUntil(ended: AbortSignal, headers: Record<string, string>, listener: Listener) {
  while (!ended.aborted) {
    try {
      const response = await reach("/api/state", { headers, signal: ended });
      if (response.body === null) throw unreachable();
      for await (const { event, data } of readEvents(response.body)) {
        if (event === "lost") listener.onLost(JSON.parse(data));
        else listener.onState(JSON.parse(data));
      }
      throw unreachable();
    } catch (thrown) {
      if (ended.aborted) return;
      listener.onLost(toProblem(thrown));
      await new Promise((resolve) => setTimeout(resolve, RETRY_MILLISECONDS));
    }
  }
}

async function reach(path: string, init: RequestInit): Promise<Response> {
  const response = await fetch(path, init).catch(() => {
    throw unreachable();
  });
  if (response.ok) return response;
  const body: unknown = await response.json().catch(() => null);
  throw isProblem(body) ? body : refused(response.status);
}

function unreachable(): Problem {
  return { kind: "unreachable", message: t("http-gone"), hint: t("http-gone-hint") };
}

function refused(status: number): Problem {
  const known = status === 401 || status === 403;
  return {
    kind: "failed",
    message: known ? t("http-refused") : t("http-status", { status }),
    hint: t("http-gone-hint"),
  };
}
