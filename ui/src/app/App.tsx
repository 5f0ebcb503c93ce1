import { Center, Loader } from "@mantine/core";
import type { State } from "../bindings/State";
import type { Client } from "../bridge/client";
import { useAction } from "../bridge/useAction";
import { useBridge } from "../bridge/useBridge";
import { ConsentsPage } from "../pages/consents/ConsentsPage";
import { HostsPage } from "../pages/hosts/HostsPage";
import { ServersPage } from "../pages/servers/ServersPage";
import { SettingsPage } from "../pages/settings/SettingsPage";
import { ProblemAlert } from "../parts/ProblemAlert";
import { t } from "../strings/t";
import { BridgeLost } from "./BridgeLost";
import { usePage } from "./pages";
import { Shell } from "./Shell";
import { SignInBanner } from "./SignInBanner";

/** Subscribes to the bridge. All other components get the state as props. */
export function App({ client }: { client: Client }) {
  const status = useBridge(client);
  switch (status.is) {
    case "connecting":
      return (
        <Center mih="100vh">
          <Loader aria-label={t("lost-connecting")} />
        </Center>
      );
    case "connected":
      return <Connected client={client} state={status.state} lost={false} />;
    case "lost":
      return status.last === null ? (
        <BridgeLost problem={status.problem} />
      ) : (
        <Connected client={client} state={status.last} lost />
      );
  }
}

function Connected({ client, state, lost }: { client: Client; state: State; lost: boolean }) {
  const [page, setPage] = usePage();
  const signIn = useAction(client.signIn);
  const props = { state, onSignIn: signIn.run };
  return (
    <Shell
      state={state}
      page={page}
      onPage={setPage}
      lost={lost}
      banners={
        <>
          {state.signIns.map((waiting) => (
            <SignInBanner key={waiting.server} waiting={waiting} />
          ))}
          <ProblemAlert problem={signIn.problem} onDismiss={signIn.reset} />
        </>
      }
    >
      {page === "servers" && <ServersPage {...props} />}
      {page === "consents" && <ConsentsPage {...props} />}
      {page === "hosts" && <HostsPage state={state} />}
      {page === "settings" && <SettingsPage state={state} />}
    </Shell>
  );
}
