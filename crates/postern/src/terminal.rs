//! Terminal input and output.

use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal, Write};

use control::api::Problem;

use crate::error::CliError;

/// Prints a line on stdout. Ignores errors, because the reader may have closed the pipe, like `head`.
pub(crate) fn print(text: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints a line that is not part of the result, on stderr.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a value as JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> serde_json::Result<()> {
    print(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Asks a yes-or-no question. Returns `None` if stdin or stderr is not a terminal.
pub(crate) fn confirm(question: &str) -> Option<bool> {
    let (stdin, stderr) = (io::stdin(), io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return None;
    }
    let _ = write!(stderr.lock(), "{question} [y/N] ");
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).ok()?;
    Some(is_yes(&answer))
}

/// Asks the user to confirm an `http:` URL of another machine, whose traffic others can read. Only a
/// user at a terminal may confirm that.
///
/// # Errors
///
/// With `declined` if the user declines, and with a usage error if there is no terminal.
pub(crate) fn confirm_http(url: &str, action: &str, declined: &str) -> Result<(), CliError> {
    let question = format!(
        "{url} is neither https nor on this machine: everyone on the network path can read and change the traffic, including headers with secrets. {action} anyway?"
    );
    match confirm(&question) {
        Some(true) => Ok(()),
        Some(false) => Err(CliError::new(declined)),
        None => Err(CliError::usage(
            format!("{url} is neither https nor on this machine"),
            "use https, or run the command at a terminal to confirm; in config.toml, `allow_http = true` allows it",
        )),
    }
}

/// Returns whether an answer means yes.
pub(crate) fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// Returns whether stdin is a terminal.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal()
}

/// Reads the next line of stdin. Returns `None` after the last line. A pending read does not delay
/// the end of the program.
pub(crate) async fn line() -> Option<String> {
    let read = tokio::task::spawn_blocking(|| io::stdin().lock().lines().next());
    read.await.ok()??.ok()
}

/// Reads a secret: without echo from a terminal, otherwise all of stdin without the final line
/// break.
pub(crate) fn secret(question: &str) -> io::Result<String> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return rpassword::prompt_password(question);
    }
    let mut text = io::read_to_string(stdin.lock())?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    text.truncate(line.strip_suffix('\r').unwrap_or(line).len());
    Ok(text)
}

/// Formats rows as aligned columns, indented by two spaces.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(widths);
            let line = cells.fold(String::from(" "), |line, (cell, width)| {
                format!("{line} {cell:width$} ")
            });
            format!("{}\n", line.trim_end())
        })
        .collect::<String>()
        .trim_end_matches('\n')
        .to_owned()
}

/// Formats rows as [`table`] does, with each row's problem below it, aligned with the second column.
pub(crate) fn table_with_problems<const N: usize>(
    rows: Vec<([String; N], Option<&Problem>)>,
) -> String {
    let (cells, problems): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let first = cells.iter().map(|row| row[0].chars().count()).max();
    let below = format!("\n{:1$}", "", first.unwrap_or_default() + 4);
    let table = table(&cells);
    let rows = table.lines().zip(problems).map(|(row, problem)| {
        let problem = problem.map(|problem| format!("\n{problem}").replace('\n', &below));
        format!("{row}{}", problem.unwrap_or_default())
    });
    rows.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn table_aligns_columns() {
        let rows = [["a", "long cell", "x"], ["ünï", "b", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "  a    long cell  x\n  ünï  b");
        assert_eq!(table::<1>(&[]), "");
    }
}
