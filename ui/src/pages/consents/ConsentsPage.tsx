import { Button, Skeleton, Stack, Text } from "@mantine/core";
import { KeyRound, RotateCw } from "lucide-react";
import type { ConsentView } from "../../bindings/ConsentView";
import type { NotAsked } from "../../bindings/NotAsked";
import type { State } from "../../bindings/State";
import { useClient } from "../../bridge/useBridge";
import { useLoad } from "../../bridge/useLoad";
import { Empty } from "../../parts/Empty";
import { Page } from "../../parts/Page";
import { Panel } from "../../parts/Panel";
import { ProblemAlert } from "../../parts/ProblemAlert";
import { list, t } from "../../strings/t";
import { ConsentGroup } from "./ConsentGroup";

interface Props {
  state: State;
  onSignIn: (server: string) => void;
}

export function ConsentsPage({ state, onSignIn }: Props) {
  const client = useClient();
  // Consents depend on the signed-in accounts and the servers.
  const changes = JSON.stringify([
    state.accounts.map(({ id, state }) => [id, state]),
    state.servers.map(({ name, account, state }) => [name, account, state.is]),
  ]);
  const consents = useLoad(client.listConsents, changes);
  const waiting = state.servers.find((server) => server.state.is === "sign-in-needed");
  return (
    <Page
      title={t("consents-title")}
      about={t("consents-about")}
      actions={
        <Button
          variant="default"
          leftSection={<RotateCw size={14} aria-hidden />}
          loading={consents.busy}
          onClick={consents.run}
        >
          {t("action-refresh")}
        </Button>
      }
    >
      <ProblemAlert problem={consents.problem} onRetry={consents.run}>
        {consents.problem?.kind === "sign-in-needed" && waiting !== undefined && (
          <Button onClick={() => onSignIn(waiting.name)}>{t("action-sign-in")}</Button>
        )}
      </ProblemAlert>
      {consents.result === undefined && consents.busy && <Loading />}
      {consents.result !== undefined && (
        <Stack gap="sm">
          <Groups consents={consents.result.consents} onRevoked={consents.run} />
          <Missing servers={consents.result.notAsked} />
        </Stack>
      )}
    </Page>
  );
}

function Groups({ consents, onRevoked }: { consents: ConsentView[]; onRevoked: () => void }) {
  if (consents.length === 0) {
    return (
      <Panel>
        <Empty icon={KeyRound} title={t("consents-none")} about={t("consents-none-about")} />
      </Panel>
    );
  }
  const gateways = [...new Set(consents.map((consent) => consent.via))];
  return (
    <Stack gap="lg">
      {gateways.map((via) => (
        <ConsentGroup
          key={via}
          via={via}
          consents={consents.filter((consent) => consent.via === via)}
          onRevoked={onRevoked}
        />
      ))}
    </Stack>
  );
}

/** The servers whose consents are not available, in one line. */
function Missing({ servers }: { servers: NotAsked[] }) {
  if (servers.length === 0) return null;
  const named = servers.map(({ server, reason }) => t("consents-not-asked-server", { server, reason }));
  return (
    <Text size="sm" c="dimmed" role="note">
      {t("consents-not-asked", { servers: list(named) })}
    </Text>
  );
}

function Loading() {
  return (
    <Stack gap="sm" role="status" aria-label={t("consents-loading")}>
      <Skeleton height={18} width={160} />
      <Skeleton height={96} />
    </Stack>
  );
}
