import { Badge } from "@mantine/core";
import type { ServerState } from "../../bindings/ServerState";
import { t } from "../../strings/t";

const COLORS: Record<ServerState["is"], string> = {
  unknown: "gray",
  connecting: "blue",
  ready: "teal",
  "sign-in-needed": "yellow",
  failed: "red",
};

export function StateBadge({ state }: { state: ServerState }) {
  return (
    <Badge variant="dot" color={COLORS[state.is]} tt="none" fw={550} size="md" style={{ flex: "none" }}>
      {t(`server-state-${state.is}`)}
    </Badge>
  );
}
