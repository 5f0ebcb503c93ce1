import { Button } from "@mantine/core";
import { CircleAlert, CircleCheck, TriangleAlert } from "lucide-react";
import type { DoctorOutcome } from "../../bindings/DoctorOutcome";
import { useAction } from "../../bridge/useAction";
import { useClient } from "../../bridge/useBridge";
import { ProblemAlert } from "../../parts/ProblemAlert";
import { Row } from "../../parts/Row";
import { sentence } from "../../parts/sentence";
import { t } from "../../strings/t";
import { Section } from "./Section";

/** Runs diagnostics and shows the results. */
export function DoctorSection() {
  const client = useClient();
  const doctor = useAction(client.doctor);
  return (
    <Section title={t("doctor-title")}>
      <Row
        label={t("doctor-label")}
        about={t("doctor-about")}
        below={doctor.problem !== null && <ProblemAlert problem={doctor.problem} />}
      >
        <Button variant="default" loading={doctor.busy} onClick={doctor.run}>
          {t("doctor-run")}
        </Button>
      </Row>
      {doctor.result?.map((check) => (
        <Row
          key={check.subject + check.finding}
          label={check.subject}
          about={check.hint === null ? check.finding : `${check.finding} ${sentence(check.hint)}`}
        >
          <Outcome outcome={check.outcome} />
        </Row>
      ))}
    </Section>
  );
}

function Outcome({ outcome }: { outcome: DoctorOutcome }) {
  const label = t(`doctor-${outcome}`);
  switch (outcome) {
    case "ok":
      return <CircleCheck size={18} color="var(--mantine-color-teal-6)" role="img" aria-label={label} />;
    case "warning":
      return <TriangleAlert size={18} color="var(--mantine-color-yellow-7)" role="img" aria-label={label} />;
    case "failed":
      return <CircleAlert size={18} color="var(--mantine-color-red-6)" role="img" aria-label={label} />;
  }
}
