import { Badge, Button, Checkbox } from "@mantine/core";
import { useState } from "react";
import type { AccountView } from "../../bindings/AccountView";
import { useClient } from "../../bridge/useBridge";
import { ConfirmModal } from "../../parts/ConfirmModal";
import { Row } from "../../parts/Row";
import { t } from "../../strings/t";
import { Section } from "./Section";

export function AccountsSection({ accounts }: { accounts: AccountView[] }) {
  const client = useClient();
  const [everywhere, setEverywhere] = useState(false);
  const [leaving, setLeaving] = useState<AccountView | null>(null);
  return (
    <Section title={t("account-title")}>
      {accounts.length === 0 && <Row label={t("account-none")} about={t("account-none-long")} />}
      {accounts.map((account) => (
        <Row key={account.id} label={nameOf(account)} about={whereOf(account)}>
          {account.state === "sign-in-needed" && (
            <Badge variant="dot" color="yellow" tt="none" fw={550}>
              {t("account-sign-in-needed")}
            </Badge>
          )}
          <Button
            variant="default"
            aria-label={t("account-sign-out-named", { name: nameOf(account) })}
            onClick={() => setLeaving(account)}
          >
            {t("account-sign-out")}
          </Button>
        </Row>
      ))}
      <ConfirmModal
        opened={leaving !== null}
        title={t("account-sign-out-title", { name: leaving === null ? "" : nameOf(leaving) })}
        about={t("account-sign-out-about")}
        action={t("account-sign-out")}
        onConfirm={async () => {
          if (leaving !== null) await client.signOut(leaving.id, everywhere);
        }}
        onClose={() => {
          setLeaving(null);
          setEverywhere(false);
        }}
      >
        <Checkbox
          label={t("account-everywhere")}
          description={t("account-everywhere-about")}
          checked={everywhere}
          onChange={(event) => setEverywhere(event.currentTarget.checked)}
        />
      </ConfirmModal>
    </Section>
  );
}

function nameOf(account: AccountView): string {
  return account.name ?? account.username ?? t("account-unnamed");
}

function whereOf(account: AccountView): string {
  const named = account.name !== null && account.username !== null ? `${account.username} · ` : "";
  return named + account.issuer;
}
