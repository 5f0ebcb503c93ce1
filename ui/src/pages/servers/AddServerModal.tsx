import { Button, Modal, Text } from "@mantine/core";
import { t } from "../../strings/t";
import { AddServerForm } from "./AddServerForm";

interface Props {
  /** The initial URL, or `null` if the modal is closed. */
  start: { url: string } | null;
  onClose: () => void;
  onAdded: (name: string) => void;
}

export function AddServerModal({ start, onClose, onAdded }: Props) {
  return (
    <Modal
      opened={start !== null}
      onClose={onClose}
      title={<Text fw={600}>{t("add-title")}</Text>}
      closeButtonProps={{ "aria-label": t("action-close") }}
    >
      <AddServerForm
        url={start?.url ?? ""}
        onAdded={(name) => {
          onAdded(name);
          onClose();
        }}
      >
        <Button variant="default" onClick={onClose}>
          {t("action-cancel")}
        </Button>
      </AddServerForm>
    </Modal>
  );
}
