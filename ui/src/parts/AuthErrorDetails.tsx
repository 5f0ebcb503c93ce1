import { Group, Text } from "@mantine/core";
import type { AuthErrorView } from "../bindings/AuthErrorView";
import type { Problem } from "../bindings/Problem";
import { t } from "../strings/t";
import { CopyButton } from "./CopyButton";

interface Props {
  problem: Problem;
  refusal: AuthErrorView;
}

/** Details for the person who must act: the code, the correlation id, the administrator's link. */
export function AuthErrorDetails({ problem, refusal }: Props) {
  return (
    <>
      <Text size="sm" mt={4}>
        {t(`auth-error-actor-${refusal.actor}`)}
      </Text>
      <Text size="xs" c="dimmed" ff="monospace" mt={4} style={{ overflowWrap: "anywhere" }}>
        {[refusal.code, refusal.correlationId].filter(Boolean).join(" · ")}
      </Text>
      <Group gap="xs" mt="xs">
        <CopyButton labelled value={copyText(problem, refusal)} what={t("auth-error-details")} />
        {refusal.adminConsentUrl !== null && (
          <CopyButton labelled value={refusal.adminConsentUrl} what={t("auth-error-admin-link")} />
        )}
      </Group>
    </>
  );
}

function copyText(problem: Problem, refusal: AuthErrorView): string {
  const lines = [
    problem.message,
    problem.hint,
    refusal.code,
    refusal.correlationId && t("auth-error-correlation", { id: refusal.correlationId }),
    refusal.adminConsentUrl,
    refusal.words,
  ];
  return lines.filter(Boolean).join("\n");
}
