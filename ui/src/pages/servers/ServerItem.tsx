import { Accordion, Badge, Group, Stack, Text } from "@mantine/core";
import type { AccountView } from "../../bindings/AccountView";
import type { ServerView } from "../../bindings/ServerView";
import type { SessionView } from "../../bindings/SessionView";
import { Mono } from "../../parts/Mono";
import { t } from "../../strings/t";
import { Connection } from "./Connection";
import { ForeignScopes } from "./ForeignScopes";
import { ServerActions } from "./ServerActions";
import classes from "./ServerItem.module.css";
import { ServerNotice } from "./ServerNotice";
import { StateBadge } from "./StateBadge";
import { Tools } from "./Tools";

interface Props {
  server: ServerView;
  account: AccountView | undefined;
  accounts: AccountView[];
  sessions: SessionView[];
  signingIn: boolean;
  onSignIn: () => void;
  onKeep: () => void;
}

export function ServerItem({ server, account, accounts, sessions, signingIn, onSignIn, onKeep }: Props) {
  return (
    <Accordion.Item value={server.name} className={classes.item ?? ""}>
      <Accordion.Control>
        <Group justify="space-between" wrap="nowrap" pr="sm">
          <div style={{ minWidth: 0 }}>
            <Group gap="xs" wrap="nowrap">
              <Text fw={600} truncate>
                {server.name}
              </Text>
              {server.ephemeral && (
                <Badge size="xs" variant="light" color="gray" tt="none">
                  {t("servers-ephemeral")}
                </Badge>
              )}
            </Group>
            <Text c="dimmed" component="div" truncate>
              <Mono truncate>{server.url}</Mono>
            </Text>
          </div>
          <StateBadge state={server.state} />
        </Group>
      </Accordion.Control>
      <Accordion.Panel>
        <Stack gap="md">
          <ServerNotice
            state={server.state}
            signInProblem={server.signInProblem}
            name={server.name}
            signingIn={signingIn}
            hasAccount={account !== undefined}
            onSignIn={onSignIn}
          />
          <ForeignScopes scopes={server.foreignScopes} />
          <Connection server={server} account={account} accounts={accounts} sessions={sessions} />
          <Tools server={server} />
          <ServerActions server={server} onKeep={onKeep} />
        </Stack>
      </Accordion.Panel>
    </Accordion.Item>
  );
}
