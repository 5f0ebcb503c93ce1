import { Badge, Button, Group, Text, Title } from "@mantine/core";
import { useState } from "react";
import type { ConsentView } from "../../bindings/ConsentView";
import { useClient } from "../../bridge/useBridge";
import { ConfirmModal } from "../../parts/ConfirmModal";
import { Panel } from "../../parts/Panel";
import { Row } from "../../parts/Row";
import { day, t } from "../../strings/t";

interface Props {
  /** The server through which the gateway is configured. */
  via: string;
  consents: ConsentView[];
  onRevoked: () => void;
}

/** The consents at one gateway. */
export function ConsentGroup({ via, consents, onRevoked }: Props) {
  const client = useClient();
  const [revoking, setRevoking] = useState<ConsentView | null>(null);
  return (
    <section aria-label={t("consents-via", { via })}>
      <Title order={3} mb="xs">
        {t("consents-via", { via })}
      </Title>
      <Panel flush>
        {consents.map((consent) => (
          <Row
            key={consent.id}
            label={t("consents-grant", consent)}
            about={consent.grantedAt === null ? null : t("consents-since", { day: day(consent.grantedAt) })}
            below={<Scopes scopes={consent.scopes} />}
          >
            <Button
              variant="light"
              color="red"
              aria-label={t("consents-revoke-named", consent)}
              onClick={() => setRevoking(consent)}
            >
              {t("consents-revoke")}
            </Button>
          </Row>
        ))}
      </Panel>
      <ConfirmModal
        opened={revoking !== null}
        title={t("consents-revoke-title", { server: revoking?.server ?? "" })}
        about={t("consents-revoke-about")}
        action={t("consents-revoke")}
        onConfirm={async () => {
          if (revoking !== null) await client.revokeConsent(revoking.via, revoking.id);
          onRevoked();
        }}
        onClose={() => setRevoking(null)}
      />
    </section>
  );
}

function Scopes({ scopes }: { scopes: string[] }) {
  return (
    <Group gap={6}>
      <Text size="xs" c="dimmed">
        {t("consents-scopes")}
      </Text>
      {scopes.length === 0 ? (
        <Text size="xs">{t("consents-no-scopes")}</Text>
      ) : (
        scopes.map((scope) => (
          <Badge key={scope} variant="light" tt="none" fw={500} radius="sm" style={{ maxWidth: "100%" }}>
            {scope}
          </Badge>
        ))
      )}
    </Group>
  );
}
