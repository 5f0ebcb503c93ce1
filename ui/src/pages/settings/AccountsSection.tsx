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
    <Section title={t("account.title")}>
      {accounts.length === 0 && <Row label={t("account.none")} about={t("account.noneLong")} />}
      {accounts.map((account) => (
        <Row key={account.id} label={nameOf(account)} about={whereOf(account)}>
          {account.state === "sign-in-needed" && (
            <Badge variant="dot" color="yellow" tt="none" fw={550}>
              {t("account.signInNeeded")}
            </Badge>
          )}
          <Button
            variant="default"
            aria-label={t("account.signOutNamed", { name: nameOf(account) })}
            onClick={() => setLeaving(account)}
          >
            {t("account.signOut")}
          </Button>
        </Row>
      ))}
      <ConfirmModal
        opened={leaving !== null}
        title={t("account.signOutTitle", { name: leaving === null ? "" : nameOf(leaving) })}
        about={t("account.signOutAbout")}
        action={t("account.signOut")}
        onConfirm={async () => {
          if (leaving !== null) await client.signOut(leaving.id, everywhere);
        }}
        onClose={() => {
          setLeaving(null);
          setEverywhere(false);
        }}
      >
        <Checkbox
          label={t("account.everywhere")}
          description={t("account.everywhereAbout")}
          checked={everywhere}
          onChange={(event) => setEverywhere(event.currentTarget.checked)}
        />
      </ConfirmModal>
    </Section>
  );
}

function nameOf(account: AccountView): string {
  return account.name ?? account.username ?? t("account.unnamed");
}

function whereOf(account: AccountView): string {
  const named = account.name !== null && account.username !== null ? `${account.username} · ` : "";
  return named + account.issuer;
}
