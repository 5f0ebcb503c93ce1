//! The command line of the app.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use control::Home;

/// Postern: one sign-in for every MCP server.
#[derive(Clone, Debug, Parser)]
#[command(name = "postern-desktop", version, about)]
pub(crate) struct Arguments {
    /// Keep everything under this folder instead of the usual places.
    #[arg(long, value_name = "FOLDER", env = "POSTERN_HOME")]
    home: Option<PathBuf>,
    /// Start in the tray, without a window.
    #[arg(long)]
    pub(crate) hidden: bool,
}

/// The argument with which the session starts the app.
pub(crate) const HIDDEN: &str = "--hidden";

impl Arguments {
    /// Returns the home of the bridge.
    pub(crate) fn home(&self) -> Result<Home> {
        Ok(match &self.home {
            Some(root) => Home::under(root)?,
            None => Home::of_user()?,
        })
    }

    /// Returns the arguments that start this app at login, with the same home and without a window.
    pub(crate) fn at_login(&self) -> Vec<String> {
        let home = self.home.iter().flat_map(|root| {
            let root = std::path::absolute(root).unwrap_or_else(|_| root.clone());
            ["--home".to_owned(), root.display().to_string()]
        });
        home.chain([HIDDEN.to_owned()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::Arguments;

    #[test]
    fn login_arguments_keep_home_and_hide_window() {
        let arguments = Arguments::parse_from(["postern-desktop", "--home", "/h"]);
        assert!(!arguments.hidden);
        assert_eq!(arguments.at_login(), ["--home", "/h", "--hidden"]);
        let again = Arguments::parse_from(
            ["postern-desktop".to_owned()]
                .into_iter()
                .chain(arguments.at_login()),
        );
        assert!(again.hidden);
        assert_eq!(again.home().unwrap(), arguments.home().unwrap());
    }
}
