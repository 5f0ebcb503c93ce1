/** Capitalizes the first letter: hints are fragments that follow `hint: ` in a terminal. */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
