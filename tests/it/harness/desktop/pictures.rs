//! Screenshots of the running app for the documentation, taken on request:
//! `POSTERN_SCREENSHOTS=docs/images cargo test -p tests every_page`.

use std::{fs, path::PathBuf};

use super::{app, screen::Screen};
use crate::harness::browser::Browser;

/// The folder for screenshots, or `None` if none are requested.
pub(crate) struct Pictures(Option<PathBuf>);

impl Pictures {
    /// Reads the folder from the environment. A relative folder is inside the repository.
    #[expect(
        clippy::disallowed_methods,
        reason = "chosen by the user who runs the cases"
    )]
    pub(crate) fn wanted() -> Self {
        let folder = std::env::var_os("POSTERN_SCREENSHOTS").map(|folder| {
            let tree = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
            PathBuf::from(tree).join(folder)
        });
        if let Some(folder) = &folder {
            fs::create_dir_all(folder).expect("a folder for pictures");
        }
        Self(folder)
    }

    /// Takes a screenshot of the content of the app's window.
    pub(crate) async fn window(&self, name: &str, screen: &Screen) {
        if let Some(folder) = &self.0 {
            let window = screen.window(app::TITLE).await;
            let picture = screen.window_picture(&window).await;
            fs::write(folder.join(name), picture).expect("a picture");
        }
    }

    /// Takes a screenshot of the page in a browser.
    pub(crate) async fn page(&self, name: &str, browser: &Browser) {
        if let Some(folder) = &self.0 {
            fs::write(folder.join(name), browser.picture().await).expect("a picture");
        }
    }

    /// Takes a screenshot of the whole screen.
    pub(crate) async fn screen(&self, name: &str, screen: &Screen) {
        if let Some(folder) = &self.0 {
            fs::write(folder.join(name), screen.picture().await).expect("a picture");
        }
    }
}
