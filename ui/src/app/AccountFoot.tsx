import { Avatar, Group, Text } from "@mantine/core";
import { UserRound } from "lucide-react";
import type { AccountView } from "../bindings/AccountView";
import { t } from "../strings/t";

/** The signed-in account at the bottom of the side bar. */
export function AccountFoot({ accounts }: { accounts: AccountView[] }) {
  const [first, ...others] = accounts;
  const name =
    first === undefined ? t("account-none") : (first.name ?? first.username ?? t("account-unnamed"));
  const below = first === undefined ? t("account-none-about") : line(first, others.length);
  return (
    <Group gap={10} wrap="nowrap">
      <Avatar
        size={32}
        radius="xl"
        color={first === undefined ? "gray" : "ink"}
        name={first?.name ?? ""}
        alt=""
      >
        {first?.name == null && <UserRound size={17} aria-hidden />}
      </Avatar>
      <div style={{ minWidth: 0 }}>
        <Text size="sm" fw={550} truncate title={name} lh={1.3}>
          {name}
        </Text>
        <Text size="xs" c="dimmed" truncate title={below} lh={1.3}>
          {below}
        </Text>
      </div>
    </Group>
  );
}

function line(account: AccountView, others: number): string {
  if (account.state === "sign-in-needed") return t("account-sign-in-needed");
  if (others > 0) return t("account-others", { count: others });
  return account.username ?? t("account-signed-in");
}
