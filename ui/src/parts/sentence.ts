/** With a capital at its start: hints come as fragments that follow `hint: ` in a terminal. */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
