import { Badge, Button } from "@mantine/core";
import { useState } from "react";
import type { ServerModeState } from "../../bindings/ServerModeState";
import { useAction } from "../../bridge/useAction";
import { useClient } from "../../bridge/useBridge";
import { CopyButton } from "../../parts/CopyButton";
import { Mono } from "../../parts/Mono";
import { ProblemAlert } from "../../parts/ProblemAlert";
import { Row } from "../../parts/Row";
import { t } from "../../strings/t";
import { Section } from "./Section";
import { ServerModeFormModal } from "./ServerModeFormModal";

const COLORS: Record<ServerModeState["is"], string> = {
  unconfigured: "gray",
  off: "gray",
  starting: "blue",
  running: "teal",
  failed: "red",
};

/** The bundled gateway: off, running, or not configured. */
export function ServerModeSection({ mode }: { mode: ServerModeState }) {
  const client = useClient();
  const start = useAction(client.startServerMode);
  const stop = useAction(client.stopServerMode);
  const [configuring, setConfiguring] = useState(false);
  const problem = mode.is === "failed" ? mode.problem : (start.problem ?? stop.problem);
  return (
    <Section title={t("server-mode-title")}>
      <Row
        label={t(`server-mode-${mode.is}`)}
        about={
          mode.is === "running" ? t("server-mode-running-about", { pid: mode.pid }) : t("server-mode-about")
        }
        below={problem !== null && <ProblemAlert problem={problem} />}
      >
        <Badge variant="dot" tt="none" fw={550} color={COLORS[mode.is]}>
          {t(`server-mode-badge-${mode.is}`)}
        </Badge>
        {mode.is === "unconfigured" && (
          <Button onClick={() => setConfiguring(true)}>{t("server-mode-configure")}</Button>
        )}
        {(mode.is === "off" || mode.is === "failed") && (
          <Button loading={start.busy} onClick={start.run}>
            {t("server-mode-start")}
          </Button>
        )}
        {(mode.is === "running" || mode.is === "starting") && (
          <Button variant="default" loading={stop.busy} onClick={stop.run}>
            {t("server-mode-stop")}
          </Button>
        )}
      </Row>
      {mode.is === "running" && (
        <Row label={t("server-mode-address")}>
          <Mono>{mode.url}</Mono>
          <CopyButton value={mode.url} what={t("server-mode-address")} />
        </Row>
      )}
      {configuring && <ServerModeFormModal onClose={() => setConfiguring(false)} />}
    </Section>
  );
}
