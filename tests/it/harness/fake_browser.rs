//! The browser in which programs open pages. It reports each page to the case. It loads pages only
//! if [`FakeBrowser::follow_after`] was called.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::unix::pipe,
    sync::watch,
    task::AbortHandle,
};

use super::within;

/// The pages that programs opened.
pub(crate) struct FakeBrowser {
    folder: PathBuf,
    pages: watch::Receiver<Vec<String>>,
    listening: AbortHandle,
    following: Option<AbortHandle>,
}

impl FakeBrowser {
    /// Creates a program `xdg-open` under `folder` that reports its argument.
    pub(crate) fn listen(folder: &Path) -> Self {
        let folder = folder.join("browser");
        fs::create_dir_all(&folder).expect("a folder");
        let (fifo, program) = (folder.join("pages"), folder.join("xdg-open"));
        let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
        assert!(made.success(), "mkfifo failed");
        let script = format!("#!/bin/sh\nprintf '%s\\n' \"$1\" > '{}'\n", fifo.display());
        fs::write(&program, script).expect("a program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");

        let (sender, pages) = watch::channel(Vec::new());
        let receiver = pipe::OpenOptions::new()
            // Also opened for writing, so that the pipe does not end when a writer closes it.
            .read_write(true)
            .open_receiver(&fifo)
            .expect("the pages");
        let listening = tokio::spawn(async move {
            let mut lines = BufReader::new(receiver).lines();
            while let Ok(Some(page)) = lines.next_line().await {
                sender.send_modify(|pages| pages.push(page));
            }
        });
        Self {
            folder,
            pages,
            listening: listening.abort_handle(),
            following: None,
        }
    }

    /// The path of the program, for `BROWSER`.
    pub(crate) fn program(&self) -> PathBuf {
        self.folder.join("xdg-open")
    }

    /// Returns a search path in which `xdg-open` is the program, as on a desktop.
    pub(crate) fn search_path(&self) -> std::ffi::OsString {
        let mut path = self.folder.clone().into_os_string();
        path.push(":");
        path.push(super::program::search_path());
        path
    }

    /// Waits for page `number`, counted from 0.
    pub(crate) async fn page(&self, number: usize) -> String {
        let mut pages = self.pages.clone();
        let there = within(
            "a page to be opened",
            pages.wait_for(|pages| pages.len() > number),
        )
        .await;
        there.expect("the pages")[number].clone()
    }

    /// Loads every page from now on after `time` and follows its redirects, as a user who accepts
    /// everything.
    pub(crate) fn follow_after(&mut self, time: Duration) {
        let mut pages = self.pages.clone();
        let following = tokio::spawn(async move {
            let mut seen = 0;
            while let Ok(there) = pages.wait_for(|pages| pages.len() > seen).await {
                let page = there[seen].clone();
                drop(there);
                seen += 1;
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    visit(page).await;
                });
            }
        });
        self.following = Some(following.abort_handle());
    }

    /// Returns how many pages were opened so far.
    pub(crate) fn page_count(&self) -> usize {
        self.pages.borrow().len()
    }
}

/// Loads a page and follows its redirects. The last page is meant for a user and is ignored.
#[expect(
    clippy::disallowed_methods,
    reason = "a browser: it must not be built as our clients are"
)]
async fn visit(page: String) {
    let browser = reqwest::Client::builder().no_proxy().build();
    let _ = browser.expect("a browser").get(page).send().await;
}

impl Drop for FakeBrowser {
    fn drop(&mut self) {
        self.listening.abort();
        if let Some(following) = &self.following {
            following.abort();
        }
    }
}
