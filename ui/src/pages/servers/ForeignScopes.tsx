import { Alert, Text } from "@mantine/core";
import { Mono } from "../../parts/Mono";
import { t } from "../../strings/t";

/** Warns that a server asked for scopes of other resources, which an honest server does not do. */
export function ForeignScopes({ scopes }: { scopes: string[] }) {
  if (scopes.length === 0) return null;
  return (
    <Alert role="note" color="yellow" variant="light" p="sm">
      <Text size="sm">{t("servers-foreign-scopes")}</Text>
      {scopes.map((scope) => (
        <Mono key={scope}>{scope}</Mono>
      ))}
    </Alert>
  );
}
