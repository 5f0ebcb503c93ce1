//! Text from untrusted sources.

/// Returns untrusted text on one line of at most 400 characters.
pub(crate) fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c.is_whitespace());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>();
    line.join(" ").chars().take(400).collect()
}
