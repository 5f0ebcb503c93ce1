//! A server that returns its input, over each transport, with as little code as possible, so that the
//! results show what is in between.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use anyhow::{Context, Result};

/// The server. Its threads end with the program.
pub(super) struct Upstream(SocketAddr);

/// The streams of HTTP+SSE, by number.
type Streams = Arc<Mutex<Vec<TcpStream>>>;

impl Upstream {
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let streams = Streams::default();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let streams = Arc::clone(&streams);
                // The end of a connection is not an error of the server.
                thread::spawn(move || drop(serve(connection, &streams)));
            }
        });
        Ok(Self(address))
    }

    /// Returns the URL of Streamable HTTP with JSON responses.
    pub(super) fn json(&self) -> String {
        format!("http://{}/json/mcp", self.0)
    }

    /// Returns the URL of Streamable HTTP with event streams.
    pub(super) fn events(&self) -> String {
        format!("http://{}/events/mcp", self.0)
    }

    /// Returns the URL of HTTP+SSE.
    pub(super) fn sse(&self) -> String {
        format!("http://{}/sse", self.0)
    }
}

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

fn serve(connection: TcpStream, streams: &Streams) -> Result<()> {
    connection.set_nodelay(true)?;
    let mut input = BufReader::with_capacity(1 << 16, connection.try_clone()?);
    let mut output = connection;
    while let Some(request) = read(&mut input)? {
        let path = request.path.as_str();
        match (request.method.as_str(), path) {
            ("POST", "/json/mcp") => match answer(&request.body)? {
                Some(answer) => respond(&mut output, "200 OK", "application/json", &answer)?,
                None => respond(&mut output, "202 Accepted", "text/plain", "")?,
            },
            ("POST", "/events/mcp") => match answer(&request.body)? {
                Some(answer) => {
                    let frame = format!("event: message\ndata: {answer}\n\n");
                    respond(&mut output, "200 OK", "text/event-stream", &frame)?;
                }
                None => respond(&mut output, "202 Accepted", "text/plain", "")?,
            },
            ("GET", "/sse") => {
                let mut streams = lock(streams);
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
                let number = streams.len();
                write!(output, "{head}event: endpoint\ndata: /message/{number}\n\n")?;
                streams.push(output.try_clone()?);
            }
            ("POST", _) if path.starts_with("/message/") => {
                let number: usize = path["/message/".len()..].parse()?;
                respond(&mut output, "202 Accepted", "text/plain", "")?;
                if let Some(answer) = answer(&request.body)? {
                    let frame = format!("event: message\ndata: {answer}\n\n");
                    let mut streams = lock(streams);
                    let stream = streams.get_mut(number).context("no such stream")?;
                    stream.write_all(frame.as_bytes())?;
                }
            }
            ("GET" | "DELETE", _) => {
                respond(&mut output, "405 Method Not Allowed", "text/plain", "")?
            }
            _ => respond(&mut output, "404 Not Found", "text/plain", "")?,
        }
    }
    Ok(())
}

fn lock(streams: &Streams) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
    streams
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn read(input: &mut BufReader<TcpStream>) -> Result<Option<Request>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = words.next().zip(words.next()).context("no request line")?;
    let mut length = 0;
    loop {
        line.clear();
        input.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    Ok(Some(Request { method, path, body }))
}

/// Returns the response to a message, or `None` if it is no request. A call returns `text`, repeated
/// `times`. Parses only what is needed, because its cost is in every result.
pub(super) fn answer(body: &[u8]) -> Result<Option<String>> {
    let message = std::str::from_utf8(body)?;
    let after = |key: &str, end: char| Some(message.split_once(key)?.1.split(end).next()?.trim());
    let Some(id) = after("\"id\":", ',') else {
        return Ok(None);
    };
    // Some clients write the id last.
    let id = id.trim_end_matches('}');
    let result = if message.contains("\"initialize\"") {
        let version = after("\"protocolVersion\":\"", '"').context("no version")?;
        format!(
            r#"{{"protocolVersion":"{version}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"echo","version":"1.0.0"}}}}"#
        )
    } else {
        let times = after("\"times\":", '}').context("not a call")?.parse()?;
        let text = after("\"text\":\"", '"').context("no text")?.repeat(times);
        format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#)
    };
    Ok(Some(format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#
    )))
}

fn respond(output: &mut TcpStream, status: &str, kind: &str, body: &str) -> Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut response = head.into_bytes();
    response.extend_from_slice(body.as_bytes());
    Ok(output.write_all(&response)?)
}
