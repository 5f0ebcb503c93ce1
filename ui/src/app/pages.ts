import { Blocks, KeyRound, type LucideIcon, Server, Settings } from "lucide-react";
import { useCallback, useEffect, useState } from "react";

export type PageId = "servers" | "consents" | "hosts" | "settings";

export const PAGES: { id: PageId; icon: LucideIcon }[] = [
  { id: "servers", icon: Server },
  { id: "consents", icon: KeyRound },
  { id: "hosts", icon: Blocks },
  { id: "settings", icon: Settings },
];

/** Returns the page in the URL's fragment, so that Back works in a browser. */
export function usePage(): [PageId, (page: PageId) => void] {
  const [page, setPage] = useState(pageOfAddress);
  useEffect(() => {
    const onChange = () => setPage(pageOfAddress());
    addEventListener("hashchange", onChange);
    return () => removeEventListener("hashchange", onChange);
  }, []);
  const goTo = useCallback((next: PageId) => {
    location.hash = `#/${next}`;
  }, []);
  return [page, goTo];
}

function pageOfAddress(): PageId {
  const named = location.hash.replace(/^#\//, "");
  return PAGES.find((page) => page.id === named)?.id ?? "servers";
}
