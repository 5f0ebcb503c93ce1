import { type MantineColorScheme, SegmentedControl, Switch, useMantineColorScheme } from "@mantine/core";
import { disable, enable, isEnabled } from "@tauri-apps/plugin-autostart";
import { useAction } from "../../bridge/useAction";
import { useLoad } from "../../bridge/useLoad";
import { ProblemAlert } from "../../parts/ProblemAlert";
import { Row } from "../../parts/Row";
import { t } from "../../strings/t";
import { Section } from "./Section";

/** The settings of the window and the app. */
export function AppSection({ desktop }: { desktop: boolean }) {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <Section title={t("app-title")}>
      <Row label={t("app-scheme")}>
        <SegmentedControl
          size="xs"
          aria-label={t("app-scheme")}
          value={colorScheme}
          onChange={(next) => setColorScheme(next as MantineColorScheme)}
          data={[
            { value: "auto", label: t("app-auto") },
            { value: "light", label: t("app-light") },
            { value: "dark", label: t("app-dark") },
          ]}
        />
      </Row>
      {desktop && <Autostart />}
    </Section>
  );
}

function Autostart() {
  const enabled = useLoad(isEnabled, "");
  const change = useAction(async (on: boolean) => {
    await (on ? enable() : disable());
    await enabled.run();
  });
  const problem = change.problem ?? enabled.problem;
  return (
    <Row
      label={t("app-autostart")}
      about={t("app-autostart-about")}
      below={problem !== null && <ProblemAlert problem={problem} onDismiss={change.reset} />}
    >
      <Switch
        aria-label={t("app-autostart")}
        checked={enabled.result ?? false}
        disabled={enabled.result === undefined || change.busy}
        onChange={(event) => void change.run(event.currentTarget.checked)}
      />
    </Row>
  );
}
