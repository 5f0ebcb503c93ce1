//! One HTTP/1.1 connection that stays open, with as little client code as possible, so that the
//! results show the other side.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

/// How long a server may send nothing of a pending response before the request fails.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
}

pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Connection {
    /// Connects to the server of an http URL. Returns the connection and the URL's path.
    pub(super) fn open(url: &str) -> Result<(Self, String)> {
        let rest = url.strip_prefix("http://").context("plain HTTP only")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let stream = TcpStream::connect(host).with_context(|| format!("cannot reach {host}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let connection = Self {
            stream: BufReader::new(stream),
            host: host.to_owned(),
        };
        Ok((connection, format!("/{path}")))
    }

    pub(super) fn post(
        &mut self,
        path: &str,
        headers: &[(String, String)],
        body: &str,
    ) -> Result<Answer> {
        self.ask("POST", path, headers, body)
    }

    pub(super) fn get(&mut self, path: &str, headers: &[(String, String)]) -> Result<Answer> {
        self.ask("GET", path, headers, "")
    }

    fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: &str,
    ) -> Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.host);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).context("no status")?.parse()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: String::new(),
        };
        answer.body = self.body(&answer)?;
        Ok(answer)
    }

    fn body(&mut self, answer: &Answer) -> Result<String> {
        let mut body = Vec::new();
        if answer.header("transfer-encoding") == Some("chunked") {
            while self.chunk(&mut body)? {}
        } else if let Some(length) = answer.header("content-length") {
            body.resize(length.parse()?, 0);
            self.stream.read_exact(&mut body)?;
        }
        Ok(String::from_utf8(body)?)
    }

    /// Reads a chunk. Returns true if another one follows.
    fn chunk(&mut self, body: &mut Vec<u8>) -> Result<bool> {
        let size = usize::from_str_radix(&self.line()?, 16)?;
        let start = body.len();
        body.resize(start + size, 0);
        self.stream.read_exact(&mut body[start..])?;
        ensure!(self.line()?.is_empty(), "not the end of a chunk");
        Ok(size > 0)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(
            self.stream.read_line(&mut line)? > 0,
            "the connection ended"
        );
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}
