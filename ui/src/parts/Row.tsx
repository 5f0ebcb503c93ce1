import { Text } from "@mantine/core";
import type { ReactNode } from "react";
import classes from "./Row.module.css";

interface Props {
  label: ReactNode;
  about?: ReactNode;
  /** The value or the control. */
  children?: ReactNode;
  /** Content of the row that needs its whole width. */
  below?: ReactNode;
}

/** A row of a panel: the label on the left, the value or control on the right. */
export function Row({ label, about, children, below }: Props) {
  return (
    <>
      <div className={classes.row}>
        <div className={classes.words}>
          <Text size="sm" fw={550} component="div">
            {label}
          </Text>
          {about !== undefined && about !== null && (
            <Text size="xs" c="dimmed" mt={1} component="div" style={{ overflowWrap: "anywhere" }}>
              {about}
            </Text>
          )}
        </div>
        {children !== undefined && <div className={classes.end}>{children}</div>}
      </div>
      {below !== undefined && below !== null && below !== false && (
        <div className={classes.below}>{below}</div>
      )}
    </>
  );
}
