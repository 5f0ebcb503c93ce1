import { Button, Group, Modal, Stack, Text } from "@mantine/core";
import type { ReactNode } from "react";
import { useAction } from "../bridge/useAction";
import { t } from "../strings/t";
import { ProblemAlert } from "./ProblemAlert";

interface Props {
  opened: boolean;
  title: string;
  about: string;
  /** The word on the button that does it. */
  action: string;
  onConfirm: () => Promise<unknown>;
  onClose: () => void;
  /** What else there is to decide. */
  children?: ReactNode;
}

/** Asks before something is taken away, and shows why it could not be. */
export function ConfirmModal({ opened, title, about, action, onConfirm, onClose, children }: Props) {
  const confirm = useAction(async () => {
    await onConfirm();
    onClose();
  });
  const close = () => {
    confirm.reset();
    onClose();
  };
  return (
    <Modal
      opened={opened}
      onClose={close}
      title={<Text fw={600}>{title}</Text>}
      closeButtonProps={{ "aria-label": t("action.close") }}
    >
      <Stack gap="md">
        <Text size="sm">{about}</Text>
        {children}
        <ProblemAlert problem={confirm.problem} />
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={close}>
            {t("action.cancel")}
          </Button>
          <Button color="red" loading={confirm.busy} onClick={confirm.run}>
            {action}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
