import { isTauri } from "@tauri-apps/api/core";
import type { State } from "../../bindings/State";
import { Page } from "../../parts/Page";
import { t } from "../../strings/t";
import { AccountsSection } from "./AccountsSection";
import { AppSection } from "./AppSection";
import { BridgeSection } from "./BridgeSection";
import { DoctorSection } from "./DoctorSection";
import { ServerModeSection } from "./ServerModeSection";

export function SettingsPage({ state }: { state: State }) {
  return (
    <Page title={t("settings-title")} about={t("settings-about")}>
      <AccountsSection accounts={state.accounts} />
      <AppSection desktop={isTauri()} />
      <ServerModeSection mode={state.serverMode} />
      <BridgeSection bridge={state.bridge} />
      <DoctorSection />
    </Page>
  );
}
