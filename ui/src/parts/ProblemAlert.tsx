import { Alert, Button, Group, Text } from "@mantine/core";
import { CircleAlert } from "lucide-react";
import type { ReactNode } from "react";
import type { Problem } from "../bindings/Problem";
import { t } from "../strings/t";
import { AuthErrorDetails } from "./AuthErrorDetails";
import { InlineCode } from "./InlineCode";
import { sentence } from "./sentence";

interface Props {
  problem: Problem | null;
  onDismiss?: () => void;
  onRetry?: () => void;
  children?: ReactNode;
}

/** A problem with its hint. */
export function ProblemAlert({ problem, onDismiss, onRetry, children }: Props) {
  if (problem === null) return null;
  return (
    <Alert
      role="alert"
      color="red"
      variant="light"
      icon={<CircleAlert size={18} aria-hidden />}
      title={<InlineCode>{problem.message}</InlineCode>}
      withCloseButton={onDismiss !== undefined}
      closeButtonLabel={t("action-dismiss")}
      onClose={() => onDismiss?.()}
      styles={{ title: { fontWeight: 600, overflowWrap: "anywhere" } }}
    >
      {problem.hint !== null && (
        <Text size="sm" style={{ overflowWrap: "anywhere" }}>
          <InlineCode>{sentence(problem.hint)}</InlineCode>
        </Text>
      )}
      {problem.refusal !== undefined && <AuthErrorDetails problem={problem} refusal={problem.refusal} />}
      {(onRetry !== undefined || children !== undefined) && (
        <Group gap="xs" mt="xs">
          {children}
          {onRetry !== undefined && (
            <Button variant="default" onClick={onRetry}>
              {t("action-try-again")}
            </Button>
          )}
        </Group>
      )}
    </Alert>
  );
}
