//! A fake bridge: two sockets, the hello, and lines.

use std::path::Path;

use control::api::{Problem, ProblemKind, Reply, Request};
use control::hello::{self, ConnectionKind, Hello, MAX_LINE, MAX_MESSAGE, PROTOCOL, Welcome};
use control::lines::Lines;
use control::socket::{Listener, Reader, Writer, split};
use control::{ControlResponse, Home};
use tokio::io::AsyncWriteExt;

pub(crate) struct FakeBridge {
    folder: tempfile::TempDir,
    version: &'static str,
    mcp: Listener,
    control: Listener,
}

/// A shim's connection.
pub(crate) struct Session {
    pub(crate) server: String,
    pub(crate) resumed: bool,
    lines: Lines<Reader>,
    writer: Writer,
}

impl FakeBridge {
    /// Creates a bridge of the same version as the program under test.
    pub(crate) fn new() -> Self {
        Self::of_version(env!("CARGO_PKG_VERSION"))
    }

    pub(crate) fn of_version(version: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::under(folder.path()).unwrap();
        let (mcp, control) = Listener::bind(&home).unwrap();
        Self {
            folder,
            version,
            mcp,
            control,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Accepts the next shim.
    pub(crate) async fn accept(&mut self) -> Session {
        self.answer(None).await
    }

    /// Rejects the next shim.
    pub(crate) async fn refuse(&mut self, message: &str, hint: &str) {
        let problem = Problem::new(ProblemKind::NotFound, message).with_hint(hint);
        self.answer(Some(problem)).await;
    }

    /// Waits for a newer bridge's request to yield, and does so.
    pub(crate) async fn yield_to_newer(mut self) -> tempfile::TempDir {
        loop {
            let (stream, _) = self.control.accept().await.unwrap();
            let (reader, mut writer) = split(stream).unwrap();
            let mut lines = Lines::new(reader, MAX_LINE);
            // Some clients only check whether a bridge listens.
            let Ok(Some(Hello { .. })) = hello::receive(&mut lines).await else {
                continue;
            };
            hello::send(&mut writer, &self.welcome(None)).await.unwrap();
            let request: Option<Request> = hello::receive(&mut lines).await.unwrap();
            assert_eq!(request, Some(Request::Yield));
            hello::send(&mut writer, &ControlResponse::Ok(Reply::Done))
                .await
                .unwrap();
            return self.folder;
        }
    }

    fn welcome(&self, problem: Option<Problem>) -> Welcome {
        Welcome {
            postern: PROTOCOL,
            version: self.version.to_owned(),
            pid: std::process::id(),
            problem,
        }
    }

    async fn answer(&mut self, problem: Option<Problem>) -> Session {
        let (stream, _) = self.mcp.accept().await.unwrap();
        let (reader, mut writer) = split(stream).unwrap();
        let mut lines = Lines::new(reader, MAX_LINE);
        let hello: Hello = hello::receive(&mut lines).await.unwrap().unwrap();
        hello::send(&mut writer, &self.welcome(problem))
            .await
            .unwrap();
        let ConnectionKind::Server {
            server, resumed, ..
        } = hello.wants
        else {
            panic!("a shim wants a server");
        };
        Session {
            server,
            resumed,
            lines: lines.with_max_length(MAX_MESSAGE),
            writer,
        }
    }
}

impl Session {
    /// Returns the shim's next line, or `None` once the shim has closed its side.
    pub(crate) async fn receive(&mut self) -> Option<String> {
        let line = self.lines.next().await.unwrap()?;
        Some(String::from_utf8(line.to_vec()).unwrap())
    }

    pub(crate) async fn send(&mut self, line: &str) {
        self.writer
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
    }
}
