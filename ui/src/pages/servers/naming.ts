// Checks of names and URLs before the bridge is called. The bridge has the final say.

import { t } from "../../strings/t";

const NAME = /^[a-z0-9-]{1,63}$/;
// Path segments and host labels that do not identify a server.
const COMMON = new Set(["mcp", "sse", "api", "www", "v1", "message", "localhost"]);

/** Suggests a name for the server at this URL: its most specific path segment, or the first host label. */
export function suggestName(address: string): string {
  if (!URL.canParse(address)) return "";
  const url = new URL(address);
  const ip = /^[\d.]+$|^\[/.test(url.hostname);
  const words = [...url.pathname.split("/").reverse(), ...(ip ? [] : url.hostname.split("."))];
  const names = words.map((word) =>
    word
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, "-")
      .replace(/^-+|-+$/g, "")
      .slice(0, 63),
  );
  return names.find((name) => NAME.test(name) && !COMMON.has(name)) ?? "";
}

export function checkName(name: string): string | null {
  return NAME.test(name) ? null : t("add-name-wrong");
}

export function checkUrl(address: string): string | null {
  const trimmed = address.trim();
  if (!URL.canParse(trimmed)) return t("add-url-wrong");
  const url = new URL(trimmed);
  const local = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  return url.protocol === "https:" || (url.protocol === "http:" && local) ? null : t("add-url-insecure");
}
