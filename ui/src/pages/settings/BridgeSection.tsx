import { Badge, Text } from "@mantine/core";
import type { BridgeView } from "../../bindings/BridgeView";
import type { VaultState } from "../../bindings/VaultState";
import { CopyButton } from "../../parts/CopyButton";
import { InlineCode } from "../../parts/InlineCode";
import { Mono } from "../../parts/Mono";
import { ProblemAlert } from "../../parts/ProblemAlert";
import { Row } from "../../parts/Row";
import { sentence } from "../../parts/sentence";
import { t } from "../../strings/t";
import { Section } from "./Section";

const VAULT_COLORS: Record<VaultState, string> = {
  keychain: "teal",
  "key-file": "yellow",
  locked: "yellow",
  absent: "red",
  behind: "red",
};

export function BridgeSection({ bridge }: { bridge: BridgeView }) {
  return (
    <Section title={t("bridge-title")}>
      <Row label={t("bridge-version")} about={t("bridge-version-about")}>
        <Text size="sm" c="dimmed">
          {t("bridge-version-value", { version: bridge.version, pid: bridge.pid })}
        </Text>
      </Row>
      <Row
        label={t("bridge-http")}
        about={t("bridge-http-about")}
        below={bridge.httpProblem !== null && <ProblemAlert problem={bridge.httpProblem} />}
      >
        {bridge.http === null ? (
          <Text size="sm" c="dimmed">
            {t("bridge-no-http")}
          </Text>
        ) : (
          <>
            <Mono>{bridge.http}</Mono>
            <CopyButton value={bridge.http} what={t("bridge-http")} />
          </>
        )}
      </Row>
      <Row
        label={t("bridge-vault")}
        about={bridge.vault.detail}
        below={
          bridge.vault.hint !== null && (
            <Text size="sm">
              <InlineCode>{sentence(bridge.vault.hint)}</InlineCode>
            </Text>
          )
        }
      >
        <Badge variant="dot" tt="none" fw={550} color={VAULT_COLORS[bridge.vault.state]}>
          {t(`vault-${bridge.vault.state}`)}
        </Badge>
      </Row>
      <Row
        label={t("bridge-config")}
        about={<Mono>{bridge.configFile}</Mono>}
        below={bridge.configProblem !== null && <ProblemAlert problem={bridge.configProblem} />}
      >
        <CopyButton value={bridge.configFile} what={t("bridge-config")} />
      </Row>
    </Section>
  );
}
