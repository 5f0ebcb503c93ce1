import { Alert, Skeleton, Stack, Text } from "@mantine/core";
import { CircleCheck } from "lucide-react";
import { useState } from "react";
import type { HostChange } from "../../bindings/HostChange";
import type { State } from "../../bindings/State";
import { useClient } from "../../bridge/useBridge";
import { useLoad } from "../../bridge/useLoad";
import { Mono } from "../../parts/Mono";
import { Page } from "../../parts/Page";
import { ProblemAlert } from "../../parts/ProblemAlert";
import { t } from "../../strings/t";
import { type Change, HostChangeModal } from "./HostChangeModal";
import { HostPanel } from "./HostPanel";

export function HostsPage({ state }: { state: State }) {
  const client = useClient();
  const names = state.servers.map((server) => server.name);
  const hosts = useLoad(client.listHosts, names.join("/"));
  const [change, setChange] = useState<Change | null>(null);
  const [made, setMade] = useState<HostChange | null>(null);
  return (
    <Page title={t("hosts-title")} about={t("hosts-about")}>
      <ProblemAlert problem={hosts.problem} onRetry={hosts.run} />
      {made !== null && <Made change={made} onDismiss={() => setMade(null)} />}
      {hosts.result === undefined && hosts.busy && (
        <Skeleton height={140} role="status" aria-label={t("hosts-loading")} />
      )}
      {hosts.result?.map((host) => (
        <HostPanel key={host.id} host={host} servers={names} onChange={setChange} />
      ))}
      {change !== null && (
        <HostChangeModal
          change={change}
          onClose={() => setChange(null)}
          onMade={(done) => {
            setChange(null);
            setMade(done);
            void hosts.run();
          }}
        />
      )}
    </Page>
  );
}

/** The applied change: what the user must do next, and the path of the backup. */
function Made({ change, onDismiss }: { change: HostChange; onDismiss: () => void }) {
  return (
    <Alert
      role="status"
      color="teal"
      variant="light"
      icon={<CircleCheck size={18} aria-hidden />}
      title={change.afterwards ?? t("hosts-made")}
      withCloseButton
      closeButtonLabel={t("action-dismiss")}
      onClose={onDismiss}
    >
      {change.backup !== null && (
        <Stack gap={0}>
          <Text size="xs" c="dimmed">
            {t("hosts-backup")}
          </Text>
          <Mono>{change.backup}</Mono>
        </Stack>
      )}
    </Alert>
  );
}
