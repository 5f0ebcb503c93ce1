import { Button, Group, Stack, Text } from "@mantine/core";
import { CircleCheck, PlugZap, Trash2 } from "lucide-react";
import { useState } from "react";
import type { ServerView } from "../../bindings/ServerView";
import type { TestReport } from "../../bindings/TestReport";
import { useAction } from "../../bridge/useAction";
import { useClient } from "../../bridge/useBridge";
import { ConfirmModal } from "../../parts/ConfirmModal";
import { ProblemAlert } from "../../parts/ProblemAlert";
import { t } from "../../strings/t";

interface Props {
  server: ServerView;
  onKeep: () => void;
}

/** Tests, keeps or removes the server. */
export function ServerActions({ server, onKeep }: Props) {
  const client = useClient();
  const test = useAction(() => client.testServer(server.name));
  const [removing, setRemoving] = useState(false);
  return (
    <Stack gap="xs">
      {test.result !== undefined && !test.busy && (
        <Group gap={6} role="status" wrap="nowrap">
          <CircleCheck size={16} color="var(--mantine-color-teal-6)" aria-hidden />
          <Text size="sm">{tested(test.result)}</Text>
        </Group>
      )}
      <ProblemAlert problem={test.problem} onDismiss={test.reset} />
      <Group justify="space-between">
        <Group gap="xs">
          <Button
            variant="default"
            leftSection={<PlugZap size={15} aria-hidden />}
            loading={test.busy}
            onClick={test.run}
          >
            {t("servers-test")}
          </Button>
          {server.ephemeral && (
            <Button variant="default" onClick={onKeep}>
              {t("servers-keep")}
            </Button>
          )}
        </Group>
        {!server.ephemeral && (
          <Button
            variant="subtle"
            color="red"
            leftSection={<Trash2 size={15} aria-hidden />}
            onClick={() => setRemoving(true)}
          >
            {t("servers-remove")}
          </Button>
        )}
      </Group>
      <ConfirmModal
        opened={removing}
        title={t("servers-remove-title", { name: server.name })}
        about={t("servers-remove-about")}
        action={t("servers-remove")}
        onConfirm={() => client.removeServer(server.name)}
        onClose={() => setRemoving(false)}
      />
    </Stack>
  );
}

function tested({ serverInfo, milliseconds, tools, protocolVersion }: TestReport): string {
  return t("servers-tested", {
    "server-info": serverInfo,
    milliseconds,
    count: tools.length,
    "protocol-version": protocolVersion,
  });
}
