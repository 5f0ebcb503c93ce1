import { Alert, Button, Group, Loader, Text } from "@mantine/core";
import type { SignInView } from "../bindings/SignInView";
import { useAction } from "../bridge/useAction";
import { useClient } from "../bridge/useBridge";
import { CopyButton } from "../parts/CopyButton";
import { InlineCode } from "../parts/InlineCode";
import { ProblemAlert } from "../parts/ProblemAlert";
import { sentence } from "../parts/sentence";
import { t } from "../strings/t";
import { SignInApproval } from "./SignInApproval";
import { SignInCode } from "./SignInCode";

/** A pending sign-in: its page or code, and the button that cancels it. */
export function SignInBanner({ waiting }: { waiting: SignInView }) {
  const client = useClient();
  const cancel = useAction(() => client.cancelSignIn(waiting.server));
  const approval = approvalHere(waiting);
  const cancelButton = (
    <Button variant="subtle" color="gray" loading={cancel.busy} onClick={cancel.run}>
      {t("sign-in-cancel")}
    </Button>
  );
  return (
    <Alert
      role="status"
      color="yellow"
      variant="light"
      icon={<Loader size={18} color="yellow" aria-hidden />}
      title={t(title(waiting), { server: waiting.server })}
    >
      {approval !== null ? (
        <SignInApproval server={waiting.server} approval={approval} cancelButton={cancelButton} />
      ) : (
        <>
          {waiting.code === null ? <BrowserPage waiting={waiting} /> : <SignInCode code={waiting.code} />}
          <Group gap="xs" mt="xs">
            {waiting.url !== "" && <CopyButton labelled value={waiting.url} what={t("sign-in-link")} />}
            {cancelButton}
          </Group>
        </>
      )}
      <ProblemAlert problem={cancel.problem} />
    </Alert>
  );
}

/** Returns the approval that this window asks for. A page of the sign-in asks for it if there is one. */
function approvalHere({ approval }: SignInView) {
  return approval === null || approval.onPage ? null : approval;
}

function title(waiting: SignInView) {
  if (approvalHere(waiting) !== null) return "approval-title";
  if (waiting.code !== null) return "sign-in-enter-code";
  return waiting.browserProblem === null ? "sign-in-waiting" : "sign-in-stuck";
}

function BrowserPage({ waiting }: { waiting: SignInView }) {
  const stuck = waiting.browserProblem !== null;
  return (
    <>
      <Text size="sm">
        <InlineCode>{stuck ? sentence(waiting.browserProblem ?? "") : t("sign-in-about")}</InlineCode>
      </Text>
      {waiting.approval !== null && (
        <Text size="sm">{t("approval-on-page", { resource: waiting.approval.resource })}</Text>
      )}
      {stuck && (
        <Text size="xs" ff="monospace" c="dimmed" lineClamp={2} style={{ overflowWrap: "anywhere" }}>
          {waiting.url}
        </Text>
      )}
    </>
  );
}
