import { Alert, Button, Group, Text } from "@mantine/core";
import { LogIn } from "lucide-react";
import type { Problem } from "../../bindings/Problem";
import type { ServerState } from "../../bindings/ServerState";
import { ProblemAlert } from "../../parts/ProblemAlert";
import { t } from "../../strings/t";

interface Props {
  state: ServerState;
  signInProblem: Problem | null;
  name: string;
  signingIn: boolean;
  hasAccount: boolean;
  onSignIn: () => void;
}

/** The reason why the server cannot be used, with a sign-in button if that helps. */
export function ServerNotice({ state, signInProblem, name, signingIn, hasAccount, onSignIn }: Props) {
  const button = !signingIn && (
    <Button leftSection={<LogIn size={15} aria-hidden />} onClick={onSignIn}>
      {t("action-sign-in")}
    </Button>
  );
  switch (state.is) {
    case "connecting":
    case "ready":
      return null;
    case "unknown":
    case "sign-in-needed":
      if (state.is === "unknown" && hasAccount) return null;
      if (signInProblem !== null && !signingIn) {
        return <ProblemAlert problem={signInProblem}>{button}</ProblemAlert>;
      }
      // The banner at the top of the page shows a pending sign-in.
      return signingIn ? null : (
        <Alert role="note" color={state.is === "unknown" ? "ink" : "yellow"} variant="light" p="sm">
          <Group justify="space-between" wrap="nowrap">
            <Text size="sm">
              {t(state.is === "unknown" ? "servers-untried" : "servers-sign-in-needed", { name })}
            </Text>
            {button}
          </Group>
        </Alert>
      );
    case "failed":
      return (
        <ProblemAlert problem={state.problem}>
          {state.problem.kind === "sign-in-needed" && button}
        </ProblemAlert>
      );
  }
}
