import { Paper } from "@mantine/core";
import type { ReactNode } from "react";

/** A card on a page. */
export function Panel({ children, flush = false }: { children: ReactNode; flush?: boolean }) {
  return (
    <Paper
      withBorder
      radius="md"
      p={flush ? 0 : "md"}
      bg="var(--card)"
      style={{ borderColor: "var(--line)" }}
    >
      {children}
    </Paper>
  );
}
