import { Button, Menu } from "@mantine/core";
import { UserRound, UserRoundPlus } from "lucide-react";
import type { AccountView } from "../../bindings/AccountView";
import { useAction } from "../../bridge/useAction";
import { useClient } from "../../bridge/useBridge";
import { ProblemAlert } from "../../parts/ProblemAlert";
import { t } from "../../strings/t";

interface Props {
  server: string;
  account: AccountView | undefined;
  accounts: AccountView[];
}

/** Switches the server to another signed-in account, or to one chosen in the browser. */
export function AccountSwitch({ server, account, accounts }: Props) {
  const client = useClient();
  const change = useAction((to: string | null) => client.switchAccount(server, to));
  const others = accounts.filter((one) => one.id !== account?.id);
  return (
    <>
      <Menu position="bottom-start" withinPortal>
        <Menu.Target>
          <Button variant="subtle" size="compact-sm" color="gray" loading={change.busy}>
            {t("servers-change-account")}
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          {others.map((other) => (
            <Menu.Item
              key={other.id}
              leftSection={<UserRound size={15} aria-hidden />}
              onClick={() => change.run(other.id)}
            >
              {other.username ?? other.name ?? other.id}
            </Menu.Item>
          ))}
          <Menu.Item leftSection={<UserRoundPlus size={15} aria-hidden />} onClick={() => change.run(null)}>
            {t("servers-other-account")}
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <ProblemAlert problem={change.problem} onDismiss={change.reset} />
    </>
  );
}
