import { Accordion, Button } from "@mantine/core";
import { Plus } from "lucide-react";
import { useState } from "react";
import type { State } from "../../bindings/State";
import { Page } from "../../parts/Page";
import { t } from "../../strings/t";
import { AddServerModal } from "./AddServerModal";
import { ServerItem } from "./ServerItem";
import { Welcome } from "./Welcome";

interface Props {
  state: State;
  onSignIn: (server: string) => void;
}

export function ServersPage({ state, onSignIn }: Props) {
  const [adding, setAdding] = useState<{ url: string } | null>(null);
  const only = state.servers.length === 1 ? state.servers[0]?.name : undefined;
  const [opened, setOpened] = useState<string | null>(only ?? null);
  if (state.servers.length === 0) return <Welcome onAdded={setOpened} />;
  return (
    <Page
      title={t("servers-title")}
      about={t("servers-about")}
      actions={
        <Button leftSection={<Plus size={15} aria-hidden />} onClick={() => setAdding({ url: "" })}>
          {t("servers-add")}
        </Button>
      }
    >
      <Accordion variant="separated" value={opened} onChange={setOpened} radius="md">
        {state.servers.map((server) => (
          <ServerItem
            key={server.name}
            server={server}
            account={state.accounts.find((account) => account.id === server.account)}
            accounts={state.accounts}
            sessions={state.sessions.filter((session) => session.server === server.name)}
            signingIn={state.signIns.some((waiting) => waiting.server === server.name)}
            onSignIn={() => onSignIn(server.name)}
            onKeep={() => setAdding({ url: server.url })}
          />
        ))}
      </Accordion>
      <AddServerModal start={adding} onClose={() => setAdding(null)} onAdded={setOpened} />
    </Page>
  );
}
