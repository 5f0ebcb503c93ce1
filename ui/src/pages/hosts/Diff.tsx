import { ScrollArea } from "@mantine/core";
import { t } from "../../strings/t";
import classes from "./Diff.module.css";

/** A unified diff with added and removed lines marked. */
export function Diff({ text }: { text: string }) {
  const lines = text.replace(/\n$/, "").split("\n");
  return (
    <ScrollArea.Autosize mah={330} type="auto">
      <figure className={classes.diff} aria-label={t("hosts-diff")}>
        {lines.map((line, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: lines have no other identity and never move
          <code key={index} className={classes[kindOf(line)] ?? ""}>
            {line === "" ? " " : line}
          </code>
        ))}
      </figure>
    </ScrollArea.Autosize>
  );
}

function kindOf(line: string): "file" | "place" | "added" | "removed" | "kept" {
  if (line.startsWith("+++") || line.startsWith("---")) return "file";
  if (line.startsWith("@@")) return "place";
  if (line.startsWith("+")) return "added";
  return line.startsWith("-") ? "removed" : "kept";
}
