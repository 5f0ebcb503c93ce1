import { Code, ScrollArea } from "@mantine/core";

/** Preformatted text that scrolls if it is long. */
export function CodeBlock({ children, label }: { children: string; label: string }) {
  return (
    <ScrollArea.Autosize mah={280} type="auto" offsetScrollbars={false}>
      <Code
        block
        tabIndex={0}
        aria-label={label}
        bg="var(--soft)"
        style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere", fontSize: 12.5, lineHeight: 1.55 }}
      >
        {children}
      </Code>
    </ScrollArea.Autosize>
  );
}
