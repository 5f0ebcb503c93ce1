import { Text } from "@mantine/core";
import type { AccountView } from "../../bindings/AccountView";
import type { ServerView } from "../../bindings/ServerView";
import type { SessionView } from "../../bindings/SessionView";
import { CopyButton } from "../../parts/CopyButton";
import { Mono } from "../../parts/Mono";
import { list, t, time } from "../../strings/t";
import { AccountSwitch } from "./AccountSwitch";
import classes from "./ServerItem.module.css";

interface Props {
  server: ServerView;
  account: AccountView | undefined;
  accounts: AccountView[];
  sessions: SessionView[];
}

/** The endpoints of the server, its account, and its current connections. */
export function Connection({ server, account, accounts, sessions }: Props) {
  const accountName =
    account === undefined ? t("servers-no-account") : (account.username ?? account.name ?? account.id);
  return (
    <dl className={classes.fields}>
      <Endpoint label={t("servers-endpoint")} value={server.endpoint} />
      <Endpoint label={t("servers-sse-endpoint")} value={server.sseEndpoint} />
      <Endpoint label={t("servers-socket-endpoint")} value={server.socketEndpoint} />
      <dt>{t("servers-account")}</dt>
      <dd>
        <Text size="sm" truncate>
          {accountName}
        </Text>
        {account !== undefined && (
          <AccountSwitch server={server.name} account={account} accounts={accounts} />
        )}
      </dd>
      {server.headers.length > 0 && (
        <>
          <dt>{t("servers-headers")}</dt>
          <dd>
            <Text size="sm">{list(server.headers)}</Text>
          </dd>
        </>
      )}
      <dt>{t("servers-sessions")}</dt>
      <dd>
        <Text size="sm">
          {sessions.length === 0 ? t("servers-no-sessions") : list(sessions.map(inUseBy))}
        </Text>
      </dd>
    </dl>
  );
}

/** Returns a connection's app, transport and time. */
function inUseBy({ host, transport, since, state }: SessionView): string {
  const named = { host: host === "" ? t("servers-session-host") : host, transport };
  switch (state.is) {
    case "active":
      return t("servers-session", { ...named, since: time(since) });
    case "idle":
      return t("servers-session-idle", { ...named, since: time(state.since) });
  }
}

function Endpoint({ label, value }: { label: string; value: string | null }) {
  return (
    <>
      <dt>{label}</dt>
      <dd>
        {value === null ? (
          <Text size="sm" c="dimmed">
            {t("servers-no-endpoint")}
          </Text>
        ) : (
          <>
            <Mono truncate>{value}</Mono>
            <CopyButton value={value} what={label} />
          </>
        )}
      </dd>
    </>
  );
}
