import { Button, Group, Stack, Text } from "@mantine/core";
import type { ReactNode } from "react";
import type { ApprovalView } from "../bindings/ApprovalView";
import { useAction } from "../bridge/useAction";
import { useClient } from "../bridge/useBridge";
import { Mono } from "../parts/Mono";
import { ProblemAlert } from "../parts/ProblemAlert";
import { t } from "../strings/t";

interface Props {
  server: string;
  approval: ApprovalView;
  cancelButton: ReactNode;
}

/** Asks whether a server may get tokens for a resource if no page of the sign-in asks. */
export function SignInApproval({ server, approval, cancelButton }: Props) {
  const client = useClient();
  const allow = useAction(() => client.approveResource(server, approval.resource, approval.audience));
  const { issuer, previous, audience, previousAudience, otherServer } = approval;
  return (
    <Stack gap={4} align="flex-start">
      <Mono>{approval.resource}</Mono>
      <Text size="sm">{t("approval-about", { server, issuer })}</Text>
      {previous !== null && <Text size="sm">{t("approval-previous", { previous })}</Text>}
      {audience !== null && <Text size="sm">{t("approval-audience", { audience })}</Text>}
      {previousAudience !== null && (
        <Text size="sm">{t("approval-previous-audience", { audience: previousAudience })}</Text>
      )}
      {otherServer !== null && <Text size="sm">{t("approval-other-server", { server: otherServer })}</Text>}
      <Group gap="xs" mt="xs">
        <Button loading={allow.busy} onClick={allow.run}>
          {t("approval-allow")}
        </Button>
        {cancelButton}
      </Group>
      <ProblemAlert problem={allow.problem} />
    </Stack>
  );
}
