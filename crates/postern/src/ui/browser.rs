//! Opening the page. No shell sees the address.

use std::io;
use std::process::{Command, Stdio};

/// Hands `page` to `command` if there is one, else to the system's opener, and does not wait.
pub(super) fn open(page: &str, command: Option<&str>) -> io::Result<()> {
    let mut words: Vec<String> = match command {
        Some(command) => command.split_whitespace().map(str::to_owned).collect(),
        None => OPENER.iter().map(|word| (*word).to_owned()).collect(),
    };
    match words.iter_mut().find(|word| word.contains("%s")) {
        Some(word) => *word = word.replace("%s", page),
        None => words.push(page.to_owned()),
    }
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().map(drop)
}

const OPENER: &[&str] = if cfg!(windows) {
    &["rundll32.exe", "url.dll,FileProtocolHandler"]
} else if cfg!(target_os = "macos") {
    &["open"]
} else {
    &["xdg-open"]
};
